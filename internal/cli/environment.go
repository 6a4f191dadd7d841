package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// FromEnvironment gives every flag of cmd that was not set on the command line the value of its
// environment variable: METRIX_ and the flag's name in capitals, '-' as '_' (--raft-addr is
// METRIX_RAFT_ADDR). Containers are configured that way.
func FromEnvironment(cmd *cobra.Command) error {
	var first error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "METRIX_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || first != nil {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			first = Usage(fmt.Errorf("environment variable %s=%q: %w", name, value, err))
		}
	})
	return first
}
