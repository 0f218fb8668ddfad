//! The whole way: client, socket, rules.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{OrgId, UserId, VaultId};
use signer_protocol::people::Login;
use signer_protocol::record::FoundOrganisation;
use signer_protocol::sealing::MakeVaultKey;
use signer_protocol::service::Health;
use signer_protocol::token::{Caller, IssueToken};
use signer_protocol::{Client, Reason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{World, address, password, reason};
use crate::listen;
use crate::service::Service;

struct Served {
    w: World,
    socket: PathBuf,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let w = World::new();
    let socket = w.folder.path().join("run/signer.sock");
    let listener = listen::bind(&socket, None).unwrap();
    let (end, ended) = tokio::sync::oneshot::channel();
    let service = Service(w.signer.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = listen::serve(listener, service, None) => {}
            _ = ended => {}
        }
    });
    Served { w, socket, end: Some(end), task }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_works_through_the_socket() {
    let served = serve().await;
    let client = Client::new(&served.socket);
    let info = client.ask(async |signer, cx| signer.info(cx).await).await.unwrap();
    assert_eq!((info.keystore.as_str(), info.token_public_key.0.len()), ("memory", 32));
    assert_eq!(client.ask(async |signer, cx| signer.health(cx).await).await.unwrap(), Health::Ok);

    let (org, owner) = (OrgId::new(), UserId::new());
    let request = FoundOrganisation { org, owner, email: address(), login: Login::Proof(password(1)) };
    let record = client.call(async |signer, cx| signer.found_organisation(cx, request).await).await.unwrap();
    let request = IssueToken { record: Some(record.clone()), proof: password(1), derived_scopes: Vec::new() };
    let token = client.call(async |signer, cx| signer.issue_token(cx, request).await).await.unwrap().jwt;
    let by = Caller { token, record };
    // Many at once on one connection.
    let asked = (0..500).map(|_| {
        let (client, by) = (client.clone(), by.clone());
        async move {
            let request = MakeVaultKey { by, vault: VaultId::new() };
            client.call(async |signer, cx| signer.make_vault_key(cx, request).await).await
        }
    });
    for made in futures::future::join_all(asked).await {
        assert_eq!(made.unwrap().peek().unwrap().org, org);
    }
    let request =
        MakeVaultKey { by: Caller { token: b"rubbish".to_vec().into(), ..by }, vault: VaultId::new() };
    let refused = client.call(async |signer, cx| signer.make_vault_key(cx, request).await).await;
    assert_eq!(reason(refused), Reason::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_the_owners_alone() {
    let served = serve().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&served.socket), 0o600);
    assert_eq!(mode(served.socket.parent().unwrap()), 0o700);
    // While it is in use, nobody else listens there.
    assert!(listen::bind(&served.socket, None).unwrap_err().to_string().contains("another signer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_left_behind_is_taken_over_and_a_file_is_not() {
    let mut served = serve().await;
    drop(served.end.take());
    served.task.await.unwrap();
    assert!(served.socket.exists());
    drop(listen::bind(&served.socket, None).unwrap());

    std::fs::remove_file(&served.socket).unwrap();
    std::fs::write(&served.socket, "a letter").unwrap();
    assert!(listen::bind(&served.socket, None).unwrap_err().to_string().contains("is no socket"));
    assert_eq!(std::fs::read_to_string(&served.socket).unwrap(), "a letter");

    let folder = served.socket.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(
        listen::bind(&served.socket, None).unwrap_err().to_string().contains("written to by other users")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_ends_its_own_connection_alone() {
    let served = serve().await;
    let client = Client::new(&served.socket);
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 1, 0xc1], &[0, 0, 0, 0]] {
        let mut stream = UnixStream::connect(&served.socket).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        let mut answer = Vec::new();
        let closed =
            tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok_and(|read| answer.is_empty() || read.is_err()), "{rubbish:?}");
        assert_eq!(client.ask(async |signer, cx| signer.health(cx).await).await.unwrap(), Health::Ok);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_with_its_signer() {
    let mut served = serve().await;
    let client = Client::new(&served.socket);
    client.ask(async |signer, cx| signer.health(cx).await).await.unwrap();
    drop(served.end.take());
    served.task.await.unwrap();
    std::fs::remove_file(&served.socket).unwrap();
    let other = Client::new(&served.socket);
    let away = other.ask(async |signer, cx| signer.health(cx).await).await;
    assert_eq!(reason(away), Reason::Unavailable);

    let listener = listen::bind(&served.socket, None).unwrap();
    let service = Service(Arc::clone(&served.w.signer));
    tokio::spawn(listen::serve(listener, service, None));
    assert_eq!(other.ask(async |signer, cx| signer.health(cx).await).await.unwrap(), Health::Ok);
}
