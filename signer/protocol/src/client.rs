//! The gateway's end of the socket: reconnects by itself, and says `Unavailable` while it can't.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tarpc::client::{NewClient, RpcError};
use tarpc::context::Context;
use tokio::net::UnixStream;
use tokio_util::codec::LengthDelimitedCodec;

use crate::refusal::{Reason, Refusal};
use crate::service::SignerClient;
use crate::wire::MAX_FRAME;

/// How long a request may take, the HSM's work included.
const DEADLINE: Duration = Duration::from_secs(10);

/// Frames as both ends speak them.
pub fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec()
}

/// A handle on the signer, cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    socket: PathBuf,
    live: ArcSwapOption<SignerClient>,
    dialling: tokio::sync::Mutex<()>,
}

impl Client {
    /// Connects on first use.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            socket: socket.into(),
            live: ArcSwapOption::empty(),
            dialling: Default::default(),
        }))
    }

    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// Asks one thing: `client.call(async |signer, cx| signer.open(cx, request).await).await`.
    ///
    /// A request that a lost connection may or may not have carried out is not repeated.
    ///
    /// # Errors
    /// The signer's refusal, or `Unavailable` when it can't be reached.
    pub async fn call<T>(
        &self,
        request: impl AsyncFnOnce(&SignerClient, Context) -> Result<Result<T, Refusal>, RpcError>,
    ) -> Result<T, Refusal> {
        self.ask(request).await?
    }

    /// As [`Client::call`], for the requests that can't be refused.
    ///
    /// # Errors
    /// `Unavailable` when the signer can't be reached.
    pub async fn ask<T>(
        &self,
        request: impl AsyncFnOnce(&SignerClient, Context) -> Result<T, RpcError>,
    ) -> Result<T, Refusal> {
        let signer = self.connected().await?;
        let mut context = tarpc::context::current();
        context.deadline = Instant::now() + DEADLINE;
        request(&signer, context).await.map_err(|error| {
            if !matches!(error, RpcError::DeadlineExceeded) {
                self.forget(&signer);
            }
            unavailable(error)
        })
    }

    async fn connected(&self) -> Result<Arc<SignerClient>, Refusal> {
        if let Some(live) = self.0.live.load_full() {
            return Ok(live);
        }
        let _one_at_a_time = self.0.dialling.lock().await;
        if let Some(live) = self.0.live.load_full() {
            return Ok(live);
        }
        let stream = UnixStream::connect(&self.0.socket).await.map_err(unavailable)?;
        let frames = tokio_util::codec::Framed::new(stream, codec());
        let transport = tarpc::serde_transport::new(frames, tokio_serde::formats::MessagePack::default());
        let NewClient { client, dispatch } = SignerClient::new(tarpc::client::Config::default(), transport);
        let live = Arc::new(client);
        self.0.live.store(Some(live.clone()));
        // When the signer ends, the next request dials anew instead of finding it out.
        let (ended, this) = (Arc::downgrade(&live), self.clone());
        tokio::spawn(async move {
            if let Err(error) = dispatch.await {
                tracing::debug!(%error, "the connection to the signer broke");
            }
            if let Some(ended) = ended.upgrade() {
                this.forget(&ended);
            }
        });
        Ok(live)
    }

    /// Drops a connection that failed, unless another has taken its place.
    fn forget(&self, failed: &Arc<SignerClient>) {
        self.0.live.rcu(|now| now.as_ref().filter(|live| !Arc::ptr_eq(live, failed)).cloned());
    }
}

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    tracing::warn!(%error, "the signer can't be reached");
    Refusal::new(Reason::Unavailable, "The signer is not reachable; try again in a moment.")
}
