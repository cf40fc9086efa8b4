#!/bin/sh
# Index templates for the Collector's Elasticsearch exporter, on a server that has none: the core distribution, which the tests
# run. The full distribution brings its own; do not apply these there.
#
#   elasticsearch-templates.sh http://127.0.0.1:9200
#
# The exporter names the dynamic templates `counter_long` and so on in its requests, and a document that names one that is
# missing is rejected. Attributes keep the dots in their names, as in the full distribution, so the same queries work on both.
set -eu
for signal in traces logs metrics; do
    curl -sS --fail-with-body -X PUT "$1/_index_template/otel-$signal" -H 'content-type: application/json' --data-binary @- <<JSON
{
  "index_patterns": ["$signal-*.otel-*"],
  "priority": 200,
  "data_stream": {},
  "template": {
    "settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"},
    "mappings": {
      "date_detection": false,
      "dynamic_templates": [
        {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1024}}},
        {"counter_long": {"mapping": {"type": "long"}}},
        {"gauge_long": {"mapping": {"type": "long"}}},
        {"counter_double": {"mapping": {"type": "double"}}},
        {"gauge_double": {"mapping": {"type": "double"}}},
        {"histogram": {"mapping": {"type": "object", "enabled": false}}},
        {"summary": {"mapping": {"type": "object", "enabled": false}}}
      ],
      "properties": {
        "@timestamp": {"type": "date_nanos"},
        "trace_id": {"type": "keyword"},
        "span_id": {"type": "keyword"},
        "parent_span_id": {"type": "keyword"},
        "name": {"type": "keyword"},
        "kind": {"type": "keyword"},
        "duration": {"type": "long"},
        "body": {"properties": {"text": {"type": "text"}}},
        "resource": {"properties": {"attributes": {"type": "object", "subobjects": false}}},
        "scope": {"properties": {"attributes": {"type": "object", "subobjects": false}}},
        "attributes": {"type": "object", "subobjects": false}
      }
    }
  }
}
JSON
    echo
done
