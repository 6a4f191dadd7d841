// Command metrix: see 'metrix --help'.
package main

import (
	"os"

	"github.com/metrixml/metrix/internal/app"
	"github.com/metrixml/metrix/internal/cli"
)

func main() { os.Exit(cli.Main(app.NewMetrix())) }
