//! Gateways on other hosts: mutual TLS. Who shows no certificate of the signer's own CA gets no word in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signer_protocol::tls::tune;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

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
    door: Arc<Door>,
}

/// Says who was turned away, once a second at most: strangers must not fill the log.
#[derive(Default)]
struct Door(Mutex<(Option<Instant>, u64)>);

impl Door {
    fn turned_away(&self, peer: SocketAddr, why: impl std::fmt::Display) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.0.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            said.1 += 1;
            return;
        }
        let unsaid = std::mem::take(&mut said.1);
        said.0 = Some(Instant::now());
        tracing::warn!(%peer, %why, unsaid, "a peer was turned away");
    }
}

/// Listens on the first address that it can. Must be called inside the runtime.
pub fn bind(config: &TlsConfig) -> Result<Listener, StartError> {
    let named = config.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let failed = |error| StartError::new(format!("can't listen on {named} ({error})"));
    let socket = std::net::TcpListener::bind(config.addresses.as_slice()).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let socket = TcpListener::from_std(socket).map_err(failed)?;
    tracing::info!(address = named, "the signer listens, by mutual TLS");
    Ok(Listener { socket, acceptor: TlsAcceptor::from(config.server.clone()), door: Arc::default() })
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
                    let (acceptor, door) = (self.acceptor.clone(), self.door.clone());
                    let (places, service) = (places.clone(), service.clone());
                    tokio::spawn(async move {
                        let admitted = admit(stream, &acceptor).await;
                        drop(hand);
                        match (admitted, places.try_acquire()) {
                            (Ok(stream), Ok(_place)) => {
                                tracing::info!(%peer, "a gateway has connected");
                                converse(stream, service).await;
                            }
                            (Ok(_), Err(_)) => door.turned_away(peer, "too many gateways are connected"),
                            (Err(error), _) => door.turned_away(peer, error),
                        }
                    });
                }
                Err(error) => not_accepted(&error).await,
            }
        }
    }
}

/// A peer that has shown a certificate of the CA, in time.
async fn admit(stream: TcpStream, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    tune(&stream)?;
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no handshake in time");
    tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(late)?
}
