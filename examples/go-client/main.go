// Command go-client asks a Throughline gateway for predictions and starts their trace.
//
// It is meant to be copied: main.go is the program, gateway.go and oip.go are the two protocols,
// telemetry.go is everything that OpenTelemetry needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes let a script distinguish an unknown wine from an unreachable gateway.
const (
	exitOK       = 0 // every id has a prediction
	exitRefused  = 1 // the gateway answered; some or all ids have no prediction
	exitUsage    = 2 // the command line is invalid
	exitNoAnswer = 3 // unreachable, too slow, or not readable
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	options, err := parseOptions(args, stderr)
	if err != nil {
		return exitUsage
	}
	if options.help {
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	flush, err := startTelemetry(ctx, stderr)
	if err != nil {
		// Predictions are worth having without a trace.
		fmt.Fprintf(stderr, "go-client: no telemetry: %v\n", err)
	}
	defer flush()

	answer, err := predict(ctx, options)
	if answer != nil {
		answer.print(stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "go-client: %v\n", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var problem *Problem
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &problem), errors.Is(err, errSomeFailed):
		return exitRefused
	default:
		return exitNoAnswer
	}
}
