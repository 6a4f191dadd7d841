// Command metrix: see 'metrix --help'.
package main

import (
	"os"

	"github.com/metrixml/metrix/internal/app"
)

func main() { os.Exit(app.Main(app.NewMetrix())) }
