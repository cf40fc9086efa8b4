//! What counts as lost.

use super::ExportCounts;

#[test]
fn items_offered_and_not_exported_are_lost() {
    let counts = ExportCounts::default();
    for _ in 0..10 {
        counts.spans.offer();
    }
    counts.spans.exported(4);
    counts.spans.failed(3, "export_failed", &"no collector");
    assert_eq!(
        counts.spans.lost(),
        6,
        "three failed and three were never exported"
    );
    assert_eq!(counts.logs.lost(), 0);
}
