//! A running gateway: its parts, and what it does by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chains::simulate::{Tenderly, TenderlySettings};
use domain::{Clock, Error, Result, SecretText, Time};
use http::HeaderName;
use ipnet::IpNet;
use jsonwebtoken::DecodingKey;
use signer_protocol::record::Principal;
use signer_protocol::service::Info;
use signer_protocol::{Attested, Client, Reason, Refusal};
use store::Store;
use tokio::sync::{OnceCell, watch};

use crate::egress::Egress;
use crate::installation::Installation;
use crate::known::Known;
use crate::limits::{LimitSettings, Limits};
use crate::notes::Notes;
use crate::once::Once;
use crate::openid::{Google, Openid};
use crate::outside::mail::Post;
use crate::password::Hasher;
use crate::registry::Registry;
use crate::simulating::Simulating;
use crate::streams::Streams;
use crate::throttle::Lines;
use crate::{authenticate, jobs, ops, refusal};

/// Chains that are verified at once: each is as fast as the database.
const WALKS: usize = 4;
/// And exported: each is as slow as its reader, and holds nothing meanwhile.
const EXPORTS: usize = 64;

/// What a gateway is made of.
pub struct Parts {
    pub store: Store,
    pub signer: Client,
    pub nodes: chains::Nodes,
    pub post: Post,
    pub clock: Clock,
    pub settings: Settings,
}

/// What an operator decides.
pub struct Settings {
    /// As clients reach it, without a slash at the end: `https://vault.example.org`.
    pub public_url: String,
    /// Addresses of nodes by chain name, over those in the registry.
    pub rpc: BTreeMap<String, SecretText>,
    /// Proxies whose `X-Forwarded-For` is believed, and what they say of client certificates.
    pub trusted_proxies: Vec<IpNet>,
    /// In which header they say it; `None`: they say nothing of that.
    pub client_cert_header: Option<HeaderName>,
    /// Networks beside the internet into which this gateway may be sent, to fetch something.
    pub egress_allow: Vec<IpNet>,
    /// `None`: chains' own nodes simulate.
    pub tenderly: Option<TenderlySettings>,
    /// `None`: nobody signs in with Google.
    pub google: Option<Google>,
    pub limits: LimitSettings,
    /// How long a request for an approval waits for people.
    pub approval_wait: Duration,
    /// From one checkpoint of an audit chain to the next, while it grows.
    pub checkpoint_interval: Duration,
    /// How long a deleted secret can be restored.
    pub secret_retention: Duration,
    /// The operator's email and password, made on a first start.
    pub operator: Option<(String, SecretText)>,
}

pub struct Gateway {
    pub(crate) store: Store,
    pub(crate) signer: Client,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) known: Known,
    pub(crate) notes: Notes,
    pub(crate) hasher: Hasher,
    pub(crate) post: Post,
    pub(crate) egress: Egress,
    pub(crate) openid: Openid,
    pub(crate) limits: Limits,
    pub(crate) lines: Lines,
    /// Who has a chain verified, and who exports one.
    pub(crate) walks: Once,
    pub(crate) exports: Once,
    pub(crate) chains: Registry,
    /// Who simulates, where it is not the chains' own nodes.
    pub(crate) tenderly: Option<Tenderly>,
    pub(crate) simulating: Simulating,
    pub(crate) estimating: Simulating,
    pub(crate) installation: Installation,
    pub(crate) streams: Streams,
    /// Who the signer is; it does not change while it holds the same keys.
    signer_info: OnceCell<(Info, DecodingKey)>,
    operator_link: Option<String>,
    stopping: watch::Sender<bool>,
}

impl Gateway {
    /// Seeds what a first start needs and begins the background jobs.
    ///
    /// # Errors
    /// If the database or the signer can't be reached, or the operator's account can't be made.
    pub async fn start(parts: Parts) -> Result<Arc<Self>> {
        let Parts { store, signer, nodes, post, clock, settings } = parts;
        let chains = Registry::start(&store, nodes, &settings, clock.now()).await?;
        let egress = Egress::new(&settings.egress_allow)?;
        let openid = Openid::new(settings.google.clone(), &egress)?;
        let streams = Streams::new(store::events::head(&store).await?);
        let mut gateway = Self {
            egress,
            openid,
            known: Known::new(),
            notes: Notes::start(store.clone()),
            hasher: Hasher::start()?,
            post,
            limits: Limits::new(&settings.limits),
            lines: Lines::new(),
            walks: Once::new(WALKS),
            exports: Once::new(EXPORTS),
            chains,
            tenderly: settings.tenderly.clone().map(Tenderly::new).transpose()?,
            simulating: Simulating::new(),
            estimating: Simulating::estimates(),
            installation: Installation::new(),
            streams,
            signer_info: OnceCell::new(),
            operator_link: None,
            stopping: watch::Sender::new(false),
            store,
            signer,
            clock,
            settings,
        };
        gateway.operator_link = ops::setup::first_start(&gateway).await?;
        let gateway = Arc::new(gateway);
        jobs::start(&gateway);
        Ok(gateway)
    }

    /// The link with which the operator's account is made, on a first start without one. Good once, for 24 hours.
    pub fn operator_link(&self) -> Option<&str> {
        self.operator_link.as_deref()
    }

    /// As clients reach it, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.settings.public_url
    }

    /// Ends the streams of events, whose clients come again elsewhere or later.
    pub fn end_streams(&self) {
        self.streams.close();
    }

    /// Ends the background jobs. What they were doing is durable, and goes on at the next start.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// What was deleted after then can be restored; the rest is erased.
    pub(crate) fn restorable_since(&self, now: Time) -> Time {
        now.minus(self.settings.secret_retention)
    }

    /// Who the signer is, asked once.
    pub(crate) async fn signer_info(&self) -> Result<&(Info, DecodingKey)> {
        let ask = async {
            let info =
                self.signer.ask(async |signer, cx| signer.info(cx).await).await.map_err(refusal::error)?;
            let key = authenticate::decoding_key(&info.token_public_key.0)?;
            Ok((info, key))
        };
        self.signer_info.get_or_try_init(|| ask).await
    }

    pub(crate) async fn token_key(&self) -> Result<&DecodingKey> {
        Ok(&self.signer_info().await?.1)
    }

    /// A record that is stored is in force: here at once, whatever becomes of the rest, and in the signer, which refuses
    /// the earlier ones from then on.
    pub(crate) async fn confirm(&self, record: &Attested<Principal>) -> Result<()> {
        let whose = record.peek().map_err(Error::internal)?.id;
        self.known.forget_principal(whose).await;
        let record = record.clone();
        match self.signer.call(async |signer, cx| signer.confirm(cx, record).await).await {
            // Somebody has made another change since: that one is the newest then.
            Ok(()) | Err(Refusal { reason: Reason::RolledBack, .. }) => Ok(()),
            Err(refused) => Err(refusal::error(refused)),
        }
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}
