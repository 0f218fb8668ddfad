//! The Unix socket: who may connect, and how much at once.

use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use rustix::net::sockopt::socket_peercred;
use signer_protocol::Signer as _;
use signer_protocol::client::codec;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::codec::Framed;

use crate::service::Service;
use crate::start::StartError;

/// Connections at once. A gateway needs one.
pub const CONNECTIONS: usize = 64;

/// Requests in work at once on a connection; further ones wait in the socket.
const IN_FLIGHT: usize = 256;

/// Listens where no other signer does. The socket of one that was killed is taken over.
pub fn bind(socket: &Path, peer_uid: Option<u32>) -> Result<UnixListener, StartError> {
    let failed =
        |error: std::io::Error| StartError::new(format!("{} can't be used ({error})", socket.display()));
    if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // Whoever can write there can put a socket of his own in this one's place.
        if std::fs::metadata(folder).map_err(failed)?.permissions().mode() & 0o022 != 0 {
            return Err(StartError::new(format!("{} can be written to by other users", folder.display())));
        }
    }
    make_room(socket)?;
    let listener = UnixListener::bind(socket).map_err(failed)?;
    // Another user can only connect to a socket that he may write to; his id is checked all the same.
    let mode = if peer_uid.is_some() { 0o666 } else { 0o600 };
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    tracing::info!(socket = %socket.display(), "the signer listens");
    Ok(listener)
}

fn make_room(socket: &Path) -> Result<(), StartError> {
    let Ok(found) = std::fs::symlink_metadata(socket) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(StartError::new(format!("{} exists and is no socket", socket.display())));
    }
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Err(StartError::new(format!("another signer listens on {}", socket.display())));
    }
    std::fs::remove_file(socket)
        .map_err(|error| StartError::new(format!("{} can't be removed ({error})", socket.display())))
}

/// Comes true when the process is to end. Must be called inside the runtime.
pub fn ending(parent_stdin: bool) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tell, closed) = oneshot::channel::<()>();
    if parent_stdin {
        // A thread of its own: a runtime's end would wait for a blocking read.
        std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(tell);
        })?;
    } else {
        // Kept for ever, so that it never comes true.
        std::mem::forget(tell);
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = closed => {}
        }
    })
}

/// Serves connections, for ever.
pub async fn serve(listener: UnixListener, service: Service, peer_uid: Option<u32>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if admitted(&stream, peer_uid) => {
                let service = service.clone();
                tokio::spawn(async move {
                    converse(stream, service).await;
                    drop(place);
                });
            }
            Ok(_) => {}
            Err(error) => not_accepted(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: they come back.
pub async fn not_accepted(error: &std::io::Error) {
    tracing::error!(%error, "a connection could not be accepted");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

/// Whether the process at the other end is of our own user, or of the one that was named.
fn admitted(stream: &UnixStream, peer_uid: Option<u32>) -> bool {
    match socket_peercred(stream) {
        Ok(peer) => {
            let uid = peer.uid.as_raw();
            let welcome = peer.uid == rustix::process::geteuid() || Some(uid) == peer_uid;
            if !welcome {
                tracing::warn!(uid, "a process of another user was turned away");
            }
            welcome
        }
        Err(error) => {
            tracing::warn!(%error, "a peer could not be identified");
            false
        }
    }
}

/// Answers requests until the other end hangs up.
pub async fn converse(stream: impl AsyncRead + AsyncWrite + Send + 'static, service: Service) {
    let frames = Framed::new(stream, codec());
    let transport = tarpc::serde_transport::new(frames, tokio_serde::formats::MessagePack::default());
    BaseChannel::with_defaults(transport)
        .execute(service.serve())
        .for_each_concurrent(IN_FLIGHT, |request| async {
            // A task each, so that one connection uses all processors.
            let _ = tokio::spawn(request).await;
        })
        .await;
}
