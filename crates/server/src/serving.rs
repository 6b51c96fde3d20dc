//! Everything that the settings decide, made anew as a whole at each reload. A request goes on to its
//! end with the one that it began with.

use std::sync::Arc;

use tiercast_predictor::cascade::CascadeFit;
use tiercast_predictor::checkpoint::{Certificate, ServiceLevels};
use tiercast_routing::catalog::Catalog;
use tiercast_upstream::client::Client;
use tiercast_upstream::upstream::{Secret, Upstream};

use crate::deployment::Deployment;
use crate::keys::Keys;
use crate::settings::{Settings, SettingsError};

/// Reads an environment variable, or whatever stands for one.
pub type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What a checkpoint says of itself.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its name.
    pub id: String,
    /// The tiers it was trained on, in the order of its forecasts.
    pub catalog: Catalog,
    /// Floors behind `auto` and `auto:cheap`.
    pub service_levels: ServiceLevels,
    /// A cascade, where one was fitted.
    pub cascade: Option<Arc<CascadeFit>>,
    /// Names of the tasks that an assessment may take a request for.
    pub tasks: Vec<String>,
    /// Version of the figures of requests.
    pub feature_version: u32,
    /// What is guaranteed of it, where that was asked for.
    pub certificate: Option<Certificate>,
}

/// One state of the settings, in force.
pub(crate) struct Serving {
    pub(crate) deployment: Deployment,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    /// Per tier of the catalog; none where it has no endpoint.
    pub(crate) upstreams: Vec<Option<Arc<Upstream>>>,
}

impl Serving {
    /// Sets everything up, or says what stands in the way. Endpoints that did not change are taken over
    /// from `before` with what their circuit breakers have learnt.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        settings: Settings,
        client: &Client,
        env: &Env,
        before: Option<&Self>,
    ) -> Result<Self, SettingsError> {
        let deployment = Deployment::new(
            &checkpoint.catalog,
            &checkpoint.id,
            checkpoint.service_levels,
            &settings,
        )?;
        let deployment = deployment.with_certificate(&checkpoint.catalog, checkpoint.certificate.clone());
        let deployment = deployment.with_cascade(&settings, checkpoint.cascade.as_deref())?;
        let keys = Keys::new(&settings, &|name| env(name))?;
        let upstream = |name: &str| -> Result<Option<Arc<Upstream>>, SettingsError> {
            let Some(endpoint) = settings.tiers.get(name).and_then(|tier| tier.endpoint.as_ref()) else {
                return Ok(None);
            };
            let same = before.and_then(|before| before.upstream(name));
            // A key may have been changed, and cannot be compared.
            let same = same.filter(|same| same.settings() == endpoint && endpoint.api_key_env().is_none());
            if let Some(same) = same {
                return Ok(Some(same));
            }
            let key = endpoint.api_key_env().and_then(env).map(Secret::from);
            Ok(Some(Arc::new(Upstream::new(name, endpoint, key, client)?)))
        };
        let tiers = deployment.catalog().tiers().iter();
        Ok(Self {
            upstreams: tiers.map(|tier| upstream(&tier.name)).collect::<Result<_, _>>()?,
            deployment,
            settings,
            keys,
        })
    }

    fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        self.upstreams[self.deployment.catalog().position(name)?].clone()
    }
}
