//! The routes file, its errors, and its changes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::Health;

use super::watch::{SharedTraffic, Watcher};
use super::{Mode, RoutesError, Rule, Split, Traffic, Variant, VariantIndex, file};
use crate::config::ServiceAddress;

const GOOD: &str = r#"
[models.wine_quality]
salt = "autumn"
fail_over = true
[[models.wine_quality.variants]]
name = "primary"
weight = 90
[[models.wine_quality.variants]]
name = "canary"
url = "http://127.0.0.1:8001/base"
weight = 10
[[models.wine_quality.variants]]
name = "kserve"
url = "http://127.0.0.1:8085"
mode = "shadow"
"#;

/// A split among these variants and weights.
pub(crate) fn split(salt: &str, fail_over: bool, weights: &[(&str, u32)]) -> Split {
    let variant = |(name, weight): &(&str, u32)| Variant {
        name: (*name).into(),
        service: "http://127.0.0.1:1/".parse().unwrap(),
        weight: *weight,
        mode: Mode::Active,
    };
    let rule = Rule {
        salt: salt.to_owned(),
        fail_over,
        implied: false,
        set: "routes.toml".into(),
    };
    Split::new(weights.iter().map(variant).collect(), rule)
}

fn services() -> Vec<ServiceAddress> {
    ["http://127.0.0.1:8000", "canary=http://127.0.0.1:8009"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

fn read(text: &str) -> Result<Traffic, String> {
    file::read(
        Path::new("/etc/throughline/routes.toml"),
        text.as_bytes(),
        &services(),
    )
    .map_err(|error| runtime::chain(&error))
}

#[test]
fn the_routes_file_decides_which_variants_answer() {
    let routes = read(GOOD).unwrap();
    let route = routes.of("wine_quality");
    assert_eq!(
        (route.salt.as_str(), route.fail_over, &*route.set),
        ("autumn", true, "routes.toml")
    );
    let variants: Vec<_> = route
        .variants
        .iter()
        .map(|v| (&*v.name, v.service.as_str(), v.weight, v.mode))
        .collect();
    assert_eq!(
        variants,
        [
            ("primary", "http://127.0.0.1:8000/", 90, Mode::Active),
            ("canary", "http://127.0.0.1:8001/base/", 10, Mode::Active),
            ("kserve", "http://127.0.0.1:8085/", 0, Mode::Shadow),
        ]
    );
    assert_eq!(
        (
            route.only,
            route.first(),
            route.shadows().collect::<Vec<_>>()
        ),
        (None, VariantIndex(0), vec![VariantIndex(2)])
    );
    assert_eq!(route.describe(), "primary 90, canary 10, kserve shadow");
    // The command line decides for other models; there, `canary` is at another address.
    let other = routes.of("text_sentiment");
    assert_eq!(
        (other.only, other.describe().as_str(), &*other.set),
        (Some(VariantIndex(0)), "primary 1, canary 0", "command line")
    );
    assert_eq!(routes.services().len(), 4);
}

#[test]
fn a_variant_is_at_the_service_that_it_names() {
    let file = |canary: &str| {
        read(&format!(
            "[[models.text_sentiment.variants]]\nname = \"shown\"\nweight = 1\n{canary}\n"
        ))
    };
    let routes = file("service = \"canary\"").unwrap();
    let variant = &routes.of("text_sentiment").variants[0];
    assert_eq!(
        (&*variant.name, variant.service.as_str()),
        ("shown", "http://127.0.0.1:8009/")
    );
    let refused = file("service = \"nobody\"").unwrap_err();
    assert!(
        refused.contains("no --model-service nobody=URL"),
        "{refused}"
    );
    let both = file("service = \"canary\"\nurl = \"http://127.0.0.1:1\"").unwrap_err();
    assert!(both.contains("both `url` and `service`"), "{both}");
}

#[test]
fn without_a_file_primary_gets_all_the_traffic() {
    let services = |texts: &[&str]| {
        Traffic::of_services(
            &texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        services(&["a=http://x", "http://y"]).of("m").describe(),
        "a 0, primary 1"
    );
    assert_eq!(
        services(&["a=http://x", "b=http://y"]).of("m").describe(),
        "a 1, b 0"
    );
}

#[test]
fn the_version_of_a_split_changes_exactly_with_the_split() {
    let version = |text: &str| read(text).unwrap().of("wine_quality").version.clone();
    let first = version(GOOD);
    assert_eq!(
        (first.len(), version(&format!("# a word\n{GOOD}"))),
        (12, first.clone())
    );
    let others = [
        GOOD.replace("90", "80"),
        GOOD.replace("autumn", "winter"),
        GOOD.replace("true", "false"),
        GOOD.replace("8085", "8086"),
        GOOD.replace("mode = \"shadow\"", "weight = 0"),
    ];
    let versions: BTreeSet<_> = others
        .iter()
        .map(|text| version(text))
        .chain([first])
        .collect();
    assert_eq!(versions.len(), 6);
}

#[test]
fn errors_of_the_routes_file_name_model_and_variant() {
    let variant = |lines: &str| format!("[models.wine]\n[[models.wine.variants]]\n{lines}\n");
    let cases = [
        ("", "it names no model"),
        ("models = 3", "line 1: invalid type"),
        ("[models.wine]\nvariants = [", "line 2: "),
        ("[model.wine]", "line 1: unknown field `model`"),
        (
            "[models.wine]\nfailover = true",
            "line 2: unknown field `failover`",
        ),
        ("[models.wine]", "model `wine`: it has no active variant"),
        ("[models.\"a/b\"]", "model `a/b`: the name must"),
        (
            "[models.wine]\nsalt = \"a\\u0000b\"\nvariants = []",
            "model `wine`: salt must",
        ),
        (&variant("weight = 1"), "missing field `name`"),
        (
            &variant("name = \"primary\""),
            "variant `primary`: `weight` is missing",
        ),
        (
            &variant("name = \"primary\"\nweight = -1"),
            "variant `primary`: weight -1 is not",
        ),
        (
            &variant("name = \"primary\"\nweight = 1000001"),
            "variant `primary`: weight 1000001 is not",
        ),
        (&variant("name = \"primary\"\nweight = 1.5"), "invalid type"),
        (
            &variant("name = \"primary\"\nweight = 0"),
            "model `wine`: no active variant has a weight above 0",
        ),
        (
            &variant("name = \"primary\"\nmode = \"shadow\""),
            "model `wine`: it has no active variant",
        ),
        (
            &variant("name = \"primary\"\nmode = \"shadow\"\nweight = 1"),
            "variant `primary`: a shadow never answers",
        ),
        (
            &variant("name = \"primary\"\nmode = \"mirror\"\nweight = 1"),
            "unknown variant `mirror`",
        ),
        (
            &variant("name = \"nobody\"\nweight = 1"),
            "variant `nobody`: `url` is missing",
        ),
        (
            &variant("name = \"x\"\nweight = 1\nurl = \"ftp://x\""),
            "variant `x`: this is not an http",
        ),
        (
            &variant("name = \"a b\"\nweight = 1"),
            "variant `a b`: a name has",
        ),
        (
            &variant(
                "name = \"primary\"\nweight = 1\n[[models.wine.variants]]\nname = \"primary\"\nweight = 1",
            ),
            "model `wine`: variant `primary`: there are two variants of this name",
        ),
    ];
    for (text, expected) in cases {
        let error = read(text).unwrap_err();
        assert!(
            error.contains("/etc/throughline/routes.toml") && error.contains(expected),
            "{text}: {error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    let one =
        |n| format!("[[models.wine.variants]]\nname = \"v{n}\"\nweight = 1\nurl = \"http://x\"\n");
    let many = (0..17).map(one).collect::<Vec<_>>().concat();
    assert!(read(&many).unwrap_err().contains("it has 17 variants"));
    let bytes = file::read(Path::new("r.toml"), b"\xff", &services()).unwrap_err();
    assert!(runtime::chain(&bytes).contains("not UTF-8"));
}

struct Watched {
    path: std::path::PathBuf,
    routes: SharedTraffic,
    health: Health,
    changes: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Watched {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.toml");
        std::fs::write(&path, GOOD).unwrap();
        let (health, changes) = (Health::new(), Arc::<AtomicUsize>::default());
        let watcher = Watcher::start(Some(path.clone()), services(), health.clone())
            .await
            .unwrap();
        let (routes, count) = (watcher.traffic(), Arc::clone(&changes));
        telemetry::task::spawn(async move {
            let counted = || {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            };
            watcher.keep_fresh(Duration::from_millis(5), counted).await;
        });
        Self {
            path,
            routes,
            health,
            changes,
            _folder: folder,
        }
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition().await {
            assert!(Instant::now() < end, "not within 10 s: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the detail of `/readyz` contains a text.
    async fn until_detail(&self, expected: &str) {
        self.until(expected, async || self.detail().await.contains(expected))
            .await;
    }

    async fn detail(&self) -> String {
        use http_body_util::BodyExt as _;
        use tower::ServiceExt as _;
        let request = http::Request::get("/readyz")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = self.health.routes().oneshot(request).await.unwrap();
        String::from_utf8(
            answer
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    fn weights(&self) -> String {
        self.routes.load().of("wine_quality").describe()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_followed_unless_it_is_invalid() {
    let watched = Watched::start().await;
    let before = watched.routes.load();
    std::fs::write(
        &watched.path,
        GOOD.replace("90", "80").replace("= 10", "= 20"),
    )
    .unwrap();
    watched
        .until("80/20", async || {
            watched.weights() == "primary 80, canary 20, kserve shadow"
        })
        .await;
    assert_eq!(
        before.of("wine_quality").describe(),
        "primary 90, canary 10, kserve shadow",
        "a request keeps its own"
    );

    std::fs::write(&watched.path, GOOD.replace("weight = 10", "weight = ten")).unwrap();
    watched
        .until_detail("the previous routes stay in force")
        .await;
    watched.until_detail("line 11").await;
    assert_eq!(watched.weights(), "primary 80, canary 20, kserve shadow");
    for (wrong, error) in [("", "it names no model"), ("models = 1", "invalid type")] {
        std::fs::write(&watched.path, wrong).unwrap();
        watched.until_detail(error).await;
    }
    std::fs::remove_file(&watched.path).unwrap();
    watched.until_detail("cannot read").await;
    std::fs::write(&watched.path, vec![b'#'; (1 << 20) + 1]).unwrap();
    watched.until_detail("larger than 1 MiB").await;

    // The content before the error: the detail is clear again, and no split has changed.
    std::fs::write(
        &watched.path,
        GOOD.replace("90", "80").replace("= 10", "= 20"),
    )
    .unwrap();
    watched
        .until("the detail is clear again", async || {
            !watched.detail().await.contains("routes")
        })
        .await;
    assert_eq!(watched.changes.load(Ordering::Relaxed), 1);
    std::fs::write(&watched.path, GOOD).unwrap();
    watched
        .until("90/10", async || {
            watched.weights() == "primary 90, canary 10, kserve shadow"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_either_the_old_or_the_new_routes() {
    let watched = Watched::start().await;
    let new = GOOD.replace("90", "70").replace("= 10", "= 30");
    let (routes, done) = (watched.routes.clone(), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (routes, done) = (routes.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut seen = BTreeSet::new();
                while done.load(Ordering::Relaxed) == 0 {
                    seen.insert(routes.load().of("wine_quality").describe());
                }
                seen
            })
        })
        .collect();
    for (text, weights) in [
        (&new, "primary 70, canary 30, kserve shadow"),
        (&GOOD.to_owned(), "primary 90, canary 10, kserve shadow"),
    ] {
        // Renamed into place, as editors and container platforms do.
        let other = watched.path.with_extension("new");
        std::fs::write(&other, text).unwrap();
        std::fs::rename(&other, &watched.path).unwrap();
        watched
            .until(weights, async || watched.weights() == weights)
            .await;
    }
    done.store(1, Ordering::Relaxed);
    for reader in readers {
        let seen = reader.join().unwrap();
        assert!(
            seen.iter()
                .all(|one| one.starts_with("primary 90, canary 10")
                    || one.starts_with("primary 70, canary 30")),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn an_invalid_file_at_the_start_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let start = async || {
        Watcher::start(Some(path.clone()), services(), Health::new())
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(start().await, RoutesError::Read(_)));
    std::fs::write(&path, "models = 1").unwrap();
    assert!(matches!(start().await, RoutesError::Invalid { .. }));
}
