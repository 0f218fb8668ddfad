//! The gateway's end of the connection: reconnects by itself, and says `Unavailable` while it can't.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tarpc::client::{NewClient, RpcError};
use tarpc::context::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::address::{Address, HostPort};
use crate::refusal::{Reason, Refusal};
use crate::service::SignerClient;
use crate::tls;
use crate::wire::MAX_FRAME;

/// How long a request may take, the HSM's work included.
const DEADLINE: Duration = Duration::from_secs(10);

/// Until a connection to another host stands, its handshake included.
const DIALLING: Duration = Duration::from_secs(3);

/// Frames as both ends speak them.
pub fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec()
}

/// A handle on the signer, cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    address: Address,
    live: ArcSwapOption<SignerClient>,
    /// Held while dialling; holds when that last failed.
    dialling: tokio::sync::Mutex<Option<Instant>>,
    trouble: ArcSwapOption<String>,
}

impl Client {
    /// Connects on first use.
    pub fn new(address: impl Into<Address>) -> Self {
        Self(Arc::new(Inner {
            address: address.into(),
            live: ArcSwapOption::empty(),
            dialling: Default::default(),
            trouble: ArcSwapOption::empty(),
        }))
    }

    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// Why the signer could not be reached when that last happened, for an operator.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.load().as_ref().map(|cause| cause.as_str().to_owned())
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
            match error {
                // It broke before this was asked: what broke it is known already.
                RpcError::Shutdown => away(),
                error => self.unavailable(&error),
            }
        })
    }

    async fn connected(&self) -> Result<Arc<SignerClient>, Refusal> {
        if let Some(live) = self.0.live.load_full() {
            return Ok(live);
        }
        let asked = Instant::now();
        let mut failed = self.0.dialling.lock().await;
        if let Some(live) = self.0.live.load_full() {
            return Ok(live);
        }
        // Who waited while another dialled in vain would wait in vain as well, one after the other.
        if failed.is_some_and(|at| at >= asked) {
            return Err(away());
        }
        self.dial().await.map_err(|error| {
            *failed = Some(Instant::now());
            self.unavailable(&error)
        })
    }

    async fn dial(&self) -> std::io::Result<Arc<SignerClient>> {
        match &self.0.address {
            Address::Unix(socket) => Ok(self.converse(UnixStream::connect(socket).await?)),
            Address::Tls(at, config) => {
                let stream = tokio::time::timeout(DIALLING, shake_hands(at, config.clone())).await;
                Ok(self.converse(stream.map_err(|_| std::io::ErrorKind::TimedOut)??))
            }
        }
    }

    fn converse(&self, stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Arc<SignerClient> {
        let frames = Framed::new(stream, codec());
        let transport = tarpc::serde_transport::new(frames, tokio_serde::formats::MessagePack::default());
        let NewClient { client, dispatch } = SignerClient::new(tarpc::client::Config::default(), transport);
        let live = Arc::new(client);
        self.0.live.store(Some(live.clone()));
        // When the signer ends, the next request dials anew instead of finding it out.
        let (ended, this) = (Arc::downgrade(&live), self.clone());
        tokio::spawn(async move {
            if let Err(error) = dispatch.await {
                this.unavailable(&error);
            }
            if let Some(ended) = ended.upgrade() {
                this.forget(&ended);
            }
        });
        live
    }

    /// Drops a connection that failed, unless another has taken its place.
    fn forget(&self, failed: &Arc<SignerClient>) {
        self.0.live.rcu(|now| now.as_ref().filter(|live| !Arc::ptr_eq(live, failed)).cloned());
    }

    /// Keeps and logs the cause, which is nothing for a caller.
    fn unavailable(&self, mut error: &(dyn std::error::Error + 'static)) -> Refusal {
        // The innermost cause says most: "Connection refused", "invalid peer certificate: UnknownIssuer".
        while let Some(deeper) = error.source() {
            error = deeper;
        }
        tracing::warn!(%error, address = %self.0.address, "the signer can't be reached");
        self.0.trouble.store(Some(Arc::new(error.to_string())));
        away()
    }
}

async fn shake_hands(
    at: &HostPort,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect((at.name().as_str(), at.port)).await?;
    tls::tune(&stream)?;
    TlsConnector::from(config).connect(at.host.clone(), stream).await
}

fn away() -> Refusal {
    Refusal::new(Reason::Unavailable, "The signer is not reachable; try again in a moment.")
}
