// Command worker: see 'worker --help'.
package main

import (
	"os"

	"github.com/metrixml/metrix/internal/app"
)

func main() { os.Exit(app.Main(app.NewWorker())) }
