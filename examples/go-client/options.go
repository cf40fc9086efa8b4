package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
)

// Options is the command line, checked.
type Options struct {
	Gateway *url.URL
	Model   string
	IDs     []string
	// Variant and User travel as baggage, so that the gateway, and every service behind it, can
	// read them.
	Variant string
	User    string
	// OIP asks by the Open Inference Protocol instead of the gateway's own API.
	OIP bool
	// Fresh asks for a computation even if a prediction is stored.
	Fresh   bool
	Timeout time.Duration

	help bool
}

const usage = `Usage: go-client [options] [data id ...]

Asks a Throughline gateway for predictions. Telemetry goes where the standard OTEL_* variables say.

`

// parseOptions reads the command line and reports errors on stderr.
func parseOptions(args []string, stderr io.Writer) (Options, error) {
	var options Options
	var gateway, ids string
	flags := flag.NewFlagSet("go-client", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&gateway, "gateway", environment("GATEWAY_URL", "http://127.0.0.1:8080"), "address of the gateway (also `GATEWAY_URL`)")
	flags.StringVar(&options.Model, "model", "wine_quality", "`name` of the model")
	flags.StringVar(&ids, "ids", "", "data `ids`, separated by commas; arguments are ids as well")
	flags.StringVar(&options.Variant, "variant", "", "`name` of the variant that should answer (baggage ml.variant)")
	flags.StringVar(&options.User, "user", "", "`id` of the user, which decides the variant (baggage user.id)")
	flags.BoolVar(&options.OIP, "oip", false, "ask by the Open Inference Protocol, /v2")
	flags.BoolVar(&options.Fresh, "fresh", false, "ignore stored predictions (Cache-Control: no-cache)")
	flags.DurationVar(&options.Timeout, "timeout", 10*time.Second, "`time` for the whole request")
	if err := flags.Parse(args); err != nil {
		options.help = errors.Is(err, flag.ErrHelp)
		if options.help {
			return options, nil
		}
		return options, err
	}
	options.IDs = append(split(ids), flags.Args()...)
	err := options.check(gateway)
	if err != nil {
		fmt.Fprintf(stderr, "go-client: %v; see go-client -help\n", err)
	}
	return options, err
}

func (o *Options) check(gateway string) error {
	address, err := url.Parse(gateway)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return fmt.Errorf("-gateway %q is not an http(s) address", gateway)
	}
	o.Gateway = address
	switch {
	case len(o.IDs) == 0:
		return errors.New("no data id given")
	case o.Model == "":
		return errors.New("-model is empty")
	case o.Timeout <= 0:
		return fmt.Errorf("-timeout %v leaves no time", o.Timeout)
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
