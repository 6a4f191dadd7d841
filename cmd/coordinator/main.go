// Command coordinator: see 'coordinator --help'.
package main

import (
	"os"

	"github.com/metrixml/metrix/internal/cli"
	"github.com/metrixml/metrix/internal/coordinatorcmd"
)

func main() { os.Exit(cli.Main(coordinatorcmd.New())) }
