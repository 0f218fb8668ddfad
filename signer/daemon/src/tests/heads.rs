//! Checkpoints of audit chains: one for each place in a chain, and never back.

use domain::OrgId;
use domain::audit::SYSTEM;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use signer_protocol::Reason;
use signer_protocol::audit::{SignHead, SignedHead};

use super::{World, reason};
use crate::keys::Keystore as _;
use crate::refuse::Result;

impl World {
    async fn head(&self, org: OrgId, sequence: u64, byte: u8) -> Result<SignedHead> {
        self.signer.sign_head(SignHead { org, sequence, hash: [byte; 32] }).await
    }
}

#[tokio::test]
async fn a_head_is_signed_once_for_each_place_and_never_back() {
    let w = World::new();
    let org = OrgId::new();
    let first = w.head(org, 7, 1).await.unwrap();
    let key = VerifyingKey::from_bytes(&w.keys.token_public_key()).unwrap();
    let signature = Signature::from_slice(&first.signature.0).unwrap();
    let message = SignedHead::message(org, 7, &[1; 32], first.signed_at);
    key.verify(&message, &signature).unwrap();
    assert_eq!(message.len(), 19 + 16 + 8 + 32 + 8);

    w.wait(5);
    assert_eq!(w.head(org, 7, 1).await.unwrap(), first, "the same again is the same");
    assert_eq!(reason(w.head(org, 7, 2).await), Reason::Conflict);
    assert_eq!(reason(w.head(org, 6, 1).await), Reason::Conflict);
    assert_eq!(reason(w.head(org, 0, 1).await), Reason::Invalid);
    assert!(w.head(OrgId::new(), 1, 2).await.is_ok(), "other chains are others'");
    assert!(w.head(SYSTEM, 1, 2).await.is_ok());
    assert_eq!(w.head(org, 9, 3).await.unwrap().sequence, 9);
    assert_eq!(reason(w.head(org, 7, 1).await), Reason::Conflict, "not even one that was signed");
}

#[tokio::test]
async fn a_signed_head_outlives_a_power_cut_and_a_restart() {
    let w = World::new();
    let org = OrgId::new();
    let first = w.head(org, 7, 1).await.unwrap();
    let cut = w.after_power_cut();
    assert_eq!(reason(cut.head(org, 7, 2).await), Reason::Conflict);
    assert_eq!(cut.head(org, 7, 1).await.unwrap(), first);
    let w = w.restarted();
    assert_eq!(reason(w.head(org, 3, 2).await), Reason::Conflict);
    assert_eq!(w.head(org, 7, 1).await.unwrap(), first);
}

#[tokio::test]
async fn a_head_that_was_forgotten_gives_way_and_is_told_for_good() {
    let w = World::new();
    let (org, other) = (OrgId::new(), OrgId::new());
    let first = w.head(org, 7, 1).await.unwrap();
    w.head(other, 7, 1).await.unwrap();
    let options = crate::ForgetHeadOptions { org, data: w.folder.path().to_owned() };
    let forget = async |options: &crate::ForgetHeadOptions| {
        let options = options.clone();
        tokio::task::spawn_blocking(move || crate::recovery::forget_head(&options)).await.unwrap()
    };
    assert!(forget(&options).await.unwrap_err().to_string().contains("in use"));
    let World { signer, clock, keys, folder } = w;
    drop(signer);
    let said = forget(&options).await.unwrap();
    assert!(said.contains("event 7") && said.contains(&hex::encode([1; 32])), "{said}");
    assert!(forget(&options).await.unwrap_err().to_string().contains("nothing was signed"));
    let w = World::over(folder, keys, clock);
    let heads = w.signer.last_head(org).await.unwrap();
    let [forgotten] = heads.forgotten.as_slice() else { panic!("{heads:?}") };
    assert_eq!((forgotten.sequence, forgotten.hash, forgotten.signed_at), (7, [1; 32], first.signed_at));
    assert!(heads.last.is_none());
    // Another history at the same place, and from then on that one alone.
    let next = w.head(org, 7, 2).await.unwrap();
    assert_eq!(reason(w.head(org, 7, 1).await), Reason::Conflict);
    assert_eq!(reason(w.head(other, 7, 2).await), Reason::Conflict, "others' heads are not forgotten");
    let w = w.restarted();
    let heads = w.signer.last_head(org).await.unwrap();
    assert_eq!((heads.last, heads.forgotten.len()), (Some(next), 1));
    assert!(w.signer.last_head(other).await.unwrap().forgotten.is_empty());
}

#[tokio::test]
async fn of_heads_at_once_one_hash_is_signed() {
    let w = World::new();
    let org = OrgId::new();
    let asked = futures::future::join_all((0..40_u8).map(|n| w.head(org, 7, n % 4))).await;
    let signed: Vec<_> = asked.into_iter().flatten().collect();
    assert_eq!(signed.len(), 10);
    assert!(signed.iter().all(|head| *head == signed[0]));
}

#[tokio::test]
async fn a_checkpoint_is_no_token_and_a_token_no_checkpoint() {
    let w = World::new();
    let owner = w.owner().await;
    let jwt = std::str::from_utf8(owner.token.expose()).unwrap();
    let signed = jwt.rsplit_once('.').unwrap().0;
    let message = SignedHead::message(owner.org, 1, &[0; 32], w.clock.now());
    // What a token signs is printable, to its last byte; a checkpoint has a zero byte after its first words.
    assert!(signed.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!((&message[..18], message[18]), (&b"talon/audit-head/1"[..], 0));
}
