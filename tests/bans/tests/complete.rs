//! Every ban of `clippy.toml` has a call in `src/lib.rs`.

use std::path::Path;

#[test]
fn every_ban_has_a_call_that_must_be_refused() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let configuration = std::fs::read_to_string(package.join("../../clippy.toml")).unwrap();
    let configuration: toml::Table = configuration.parse().unwrap();
    let calls = std::fs::read_to_string(package.join("src/lib.rs")).unwrap();

    let bans = configuration["disallowed-methods"].as_array().unwrap();
    assert!(!bans.is_empty());
    for ban in bans {
        let path = ban["path"].as_str().unwrap();
        assert!(
            calls.contains(&format!("    {path}(")),
            "nothing in tests/bans proves the ban of {path}"
        );
    }
}
