//! The outline of a miss, and each problem.

use super::{outline, problems};
use crate::waterfall::example;

#[test]
fn outline_of_a_miss() {
    assert_eq!(
        outline(&example::miss()),
        "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service
      POST CLIENT model-service
        POST /get-online-features SERVER feature-store
          SELECT wine_features CLIENT feature-store
      predict wine_quality INTERNAL model-service
        preprocess_input INTERNAL model-service
        model_inference INTERNAL model-service
          layer linear_1 INTERNAL model-service
          layer linear_2 INTERNAL model-service
          layer linear_3 INTERNAL model-service
        postprocess_output INTERNAL model-service
  INSERT predictions CLIENT gateway
"
    );
    assert_eq!(problems(&example::miss()), Vec::<String>::new());
}

#[test]
fn every_problem_is_reported() {
    let mut trace = example::miss();
    trace.spans.retain(|span| {
        !matches!(
            span.span_id.as_str(),
            "0000000000000003" | "0000000000000001"
        )
    });
    // Rebuilt, so that depths and orphans are those of the spans that are left.
    let broken = example::rebuilt(&trace);
    assert_eq!(
        problems(&broken),
        [
            "no root span",
            "orphan: SELECT predictions CLIENT gateway has the parent 0000000000000001, which is not in the trace",
            "orphan: POST /v2/models/{model_name}/infer SERVER model-service has the parent 0000000000000003, which is not in the trace",
            "orphan: INSERT predictions CLIENT gateway has the parent 0000000000000001, which is not in the trace",
        ]
    );

    let mut skewed = example::miss();
    skewed.spans[3].start -= 3_000_000;
    skewed.spans[5].end = skewed.spans[5].start - 1;
    skewed.spans[7].span_id = skewed.spans[1].span_id.clone();
    assert_eq!(
        problems(&skewed),
        [
            "2 spans have the id 0000000000000002",
            "clock: POST /v2/models/{model_name}/infer SERVER model-service starts 2.80 ms before its parent",
            "clock: POST /get-online-features SERVER feature-store ends before it starts",
        ]
    );

    let mut roots = example::miss();
    roots.spans[1].parent = None;
    assert_eq!(
        problems(&example::rebuilt(&roots)),
        ["2 root spans: POST /v1/predictions, SELECT predictions"]
    );
}
