//! Gateways on other hosts: mutual TLS. Who shows no certificate of the signer's own CA gets no word in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signer_protocol::tls::tune;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::listen::{CONNECTIONS, converse, not_accepted};
use crate::service::Service;
use crate::start::StartError;

/// Handshakes at once. Whoever can reach the port can begin one, so they have places of their own: strangers never
/// take those of gateways that have shown who they are.
const HANDSHAKES: usize = 256;

/// Until a peer has shown its certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);

pub struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
}

/// Listens on the first address that it can. Must be called inside the runtime.
pub fn bind(config: &TlsConfig) -> Result<Listener, StartError> {
    let named = config.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let failed = |error| StartError::new(format!("can't listen on {named} ({error})"));
    let socket = std::net::TcpListener::bind(config.addresses.as_slice()).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let socket = TcpListener::from_std(socket).map_err(failed)?;
    tracing::info!(address = named, "the signer listens, by mutual TLS");
    Ok(Listener { socket, acceptor: TlsAcceptor::from(config.server.clone()) })
}

impl Listener {
    /// Serves connections, for ever.
    pub async fn serve(self, service: Service) {
        let shaking = Arc::new(Semaphore::new(HANDSHAKES));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(hand) = shaking.clone().acquire_owned().await else { return };
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let (acceptor, places) = (self.acceptor.clone(), places.clone());
                    tokio::spawn(welcome(stream, peer, acceptor, (hand, places), service.clone()));
                }
                Err(error) => not_accepted(&error).await,
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    (hand, places): (OwnedSemaphorePermit, Arc<Semaphore>),
    service: Service,
) {
    let admitted = async {
        tune(&stream)?;
        acceptor.accept(stream).await
    };
    let outcome = tokio::time::timeout(HANDSHAKE, admitted).await;
    drop(hand);
    match outcome {
        Ok(Ok(stream)) => match places.try_acquire() {
            Ok(_place) => {
                tracing::info!(%peer, "a gateway has connected");
                converse(stream, service).await;
            }
            Err(_) => tracing::warn!(%peer, "a gateway was turned away: {CONNECTIONS} are connected"),
        },
        Ok(Err(error)) => tracing::warn!(%peer, %error, "a peer was turned away"),
        Err(_) => tracing::warn!(%peer, "a peer was turned away: no handshake in time"),
    }
}
