package app

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/metrixml/metrix/recipe"
)

func (o *trainOptions) plan(*cobra.Command, *recipe.Recipe) error { return errors.New("not yet") }
