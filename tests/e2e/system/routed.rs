//! A gateway in front of two model services, by a routes file.

use std::path::PathBuf;

use anyhow::Result;
use harness::{Process, eventually};
use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::{System, model, model_service, path};

/// A system with two model services, `primary` and `canary`, whose routes a test changes.
pub(crate) struct Routed {
    pub(crate) system: System,
    pub(crate) canary: Option<Process>,
    canary_url: String,
    /// The routes file, which the gateway watches.
    pub(crate) file: PathBuf,
}

impl Routed {
    /// Two services in Rust, since only the gateway is tested here.
    pub(crate) fn start(env: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("routes.toml");
        std::fs::write(
            &file,
            "[models.wine_quality]\n[[models.wine_quality.variants]]\nname = \"primary\"\nweight = 1\n",
        )?;
        let routes = [
            ("GATEWAY_ROUTES", path(&file)),
            ("GATEWAY_ROUTES_REFRESH", "50ms"),
        ];
        let mut system = System::start_with(&[env, &routes].concat())?;
        system.keep(folder);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", system.urls.otlp.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "30"),
            ("MODEL_SERVICE_VARIANT", "canary"),
        ];
        let canary = model_service(&system.urls.feature_store, &variables)?;
        let canary_url = canary.url("server.listening")?;
        eventually("the second service is ready", || {
            let ready = system.get(&format!("{canary_url}/readyz")).ok();
            Ok(ready.filter(|answer| answer.status == StatusCode::OK))
        })?;
        Ok(Self {
            system,
            canary: Some(canary),
            canary_url,
            file,
        })
    }

    /// Writes the routes and waits until the running gateway follows them. `canary` is a line of
    /// its section.
    pub(crate) fn route(&self, primary: u32, canary: &str, fail_over: bool) -> Result<()> {
        let text = format!(
            "[models.wine_quality]\nfail_over = {fail_over}\n\
             [[models.wine_quality.variants]]\nname = \"primary\"\nweight = {primary}\n\
             [[models.wine_quality.variants]]\nname = \"canary\"\nurl = \"{}\"\n{canary}\n",
            self.canary_url
        );
        std::fs::write(&self.file, text)?;
        eventually("the gateway follows the routes", || {
            let models = self
                .system
                .get(&format!("{}/v1/models", self.system.urls.gateway))?
                .body;
            let model = model(&models, "wine_quality");
            let variants = model["variants"].as_array().into_iter().flatten();
            let weights: Vec<_> = variants.map(|variant| variant["weight"].clone()).collect();
            let wanted = canary
                .strip_prefix("weight = ")
                .and_then(|weight| weight.parse::<u32>().ok());
            let there = weights == [json!(primary), json!(wanted)]
                && model["fail_over"] == json!(fail_over);
            Ok(there.then_some(()))
        })
    }
}
