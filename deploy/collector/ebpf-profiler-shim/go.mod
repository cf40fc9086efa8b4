// Stand-in for the one module of the lean Collector that the module proxy does not serve; see ../builder.yaml.
module go.opentelemetry.io/ebpf-profiler

go 1.25
