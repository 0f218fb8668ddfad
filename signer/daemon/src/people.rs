//! People: how they come into an organisation, what becomes of them there, and how they leave it.

use std::time::Duration;

use domain::{OrgId, PrincipalId, Role, Time, UserId};
use signer_protocol::Attested;
use signer_protocol::link::Opens;
use signer_protocol::passkey::{challenge_of_ending, challenge_of_invitation};
use signer_protocol::people::{
    ChangePassword, EndOrganisation, Invitation, Invite, Join, Login, Newcomer, ResetPassword, SuspendAgents,
};
use signer_protocol::record::{Assertion, Change, Credential, CredentialKind, Principal, Verifier};
use signer_protocol::wire::Blob;

use crate::authority::Authority;
use crate::callers::Checked;
use crate::ledger::{Guessed, Taken};
use crate::principals::{credential_code, is_name, newborn, next, successor};
use crate::refuse::{Result, conflict, forbidden, invalid, tampered, unauthenticated};
use crate::tokens::same_code;

/// How long an invitation may wait to be taken up.
const LONGEST_INVITATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Authority {
    /// Leave for somebody to come in. An owner alone makes owners.
    pub async fn invite(&self, request: Invite) -> Result<Attested<Invitation>> {
        let Invite { by, id, user, role, email, expires_at, passkey } = request;
        let by = self.caller(&by).await?;
        by.in_person()?;
        let inviter = by.manages()?;
        owners_make_owners(&by, role)?;
        in_time(expires_at, self.clock.now(), LONGEST_INVITATION)?;
        if email.0.len() != 32 {
            return Err(invalid("email: must be a SHA-256."));
        }
        if self.ledger.knows(PrincipalId::User(user))? {
            return Err(conflict("user: somebody has this id."));
        }
        if role.manages() {
            let challenge = |made| challenge_of_invitation(inviter, made, role, &email);
            self.makes_by_passkey(&by, passkey.as_ref(), challenge).await?;
        }
        let invitation = Invitation { id, org: by.org(), role, email, by: inviter, user, expires_at };
        self.statements.attest(&invitation).await
    }

    /// Somebody comes in: new, or from an organisation that they leave for this one.
    pub async fn join(&self, request: Join) -> Result<Attested<Principal>> {
        let invitation = self.statements.verify(&request.invitation).await?;
        if self.clock.now() >= invitation.expires_at {
            return Err(conflict("The invitation has expired; ask for another."));
        }
        self.followed(&request.followed, &Opens::Invitation { id: invitation.id }).await?;
        let (record, taken) = match request.who {
            Newcomer::New(login) => {
                if self.ledger.knows(PrincipalId::User(invitation.user))? {
                    return Err(conflict("The invitation was taken up."));
                }
                let Invitation { org, user, role, ref email, .. } = *invitation;
                let record = self.new_person(org, user, role, email.clone(), &login).await?;
                (record, Taken { by: user, from: 0 })
            }
            Newcomer::Existing(by) => {
                let by = self.caller(&by).await?;
                let user = by.in_person()?;
                (moved(by.record(), &invitation)?, Taken { by: user, from: by.record().version })
            }
        };
        let attested = self.statements.attest(&record).await?;
        self.ledger.take_up(&invitation, taken).await?;
        Ok(attested)
    }

    pub async fn change_password(&self, request: ChangePassword) -> Result<Attested<Principal>> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        self.check_password(user, by.record(), &request.current).await?;
        self.with_password(by.record(), &request.new).await
    }

    /// For who has followed the link that was mailed to them. The second factor stays, and so the new password alone opens
    /// nothing that it guards.
    pub async fn reset_password(&self, request: ResetPassword) -> Result<Attested<Principal>> {
        let (record, user) = self.person(&request.record).await?;
        has_password(&record)?;
        let opens = Opens::Password { user, epoch: record.epoch };
        let link = self.followed(&request.followed, &opens).await?;
        // Wrong guesses were at the old one.
        self.ledger.guessed_right(*user.as_bytes(), Guessed::Password).await?;
        let record = Principal { email: Some(link.email.clone()), ..(*record).clone() };
        self.with_password(&record, &request.new).await
    }

    pub async fn end_organisation(&self, request: EndOrganisation) -> Result<()> {
        let by = self.caller(&request.by).await?;
        by.in_person()?;
        by.unbounded()?;
        if by.record().role != Some(Role::Owner) {
            return Err(forbidden("Only an owner ends the organisation."));
        }
        let challenge = challenge_of_ending(&request.by.record);
        self.confirmed_by_passkey(&by, request.passkey.as_ref(), challenge, false).await?;
        self.ledger.end(by.org()).await
    }

    /// To stop must be easy; to let go on is for a person who logged in.
    pub async fn suspend_agents(&self, request: SuspendAgents) -> Result<()> {
        let by = self.caller(&request.by).await?;
        by.manages()?;
        if !request.suspended {
            by.in_person()?;
        }
        self.ledger.suspend(by.org(), request.suspended).await
    }

    pub(crate) async fn new_person(
        &self,
        org: OrgId,
        user: UserId,
        role: Role,
        email: Blob,
        login: &Login,
    ) -> Result<Principal> {
        if email.0.len() != 32 {
            return Err(invalid("email: must be a SHA-256."));
        }
        let id = PrincipalId::User(user);
        let (verifier, asserted) = match login {
            Login::Proof(credential) => (Some(self.enrol(id, credential).await?), None),
            Login::Asserted(assertion) => (None, Some(persons_own(assertion)?)),
        };
        Ok(Principal { role: Some(role), verifier, asserted, email: Some(email), ..newborn(id, org) })
    }

    /// Whether it is the person's password. Guesses are counted.
    pub(crate) async fn check_password(
        &self,
        user: UserId,
        record: &Principal,
        given: &Credential,
    ) -> Result<()> {
        let verifier = has_password(record)?;
        self.ledger.guess(*user.as_bytes(), Guessed::Password).await?;
        let code = credential_code(self, record.id, given).await?;
        if !same_code(verifier, &code) {
            return Err(unauthenticated("The password is wrong."));
        }
        self.ledger.guessed_right(*user.as_bytes(), Guessed::Password).await
    }

    async fn with_password(&self, base: &Principal, new: &Credential) -> Result<Attested<Principal>> {
        let mut record = successor(base)?;
        record.verifier = Some(self.enrol(base.id, new).await?);
        record.epoch = next(base.epoch)?;
        self.statements.attest(&record).await
    }
}

/// A person's record as a change makes it: in person, by an owner or admin, or the person's own end.
pub fn changed_person(by: &Checked, base: &Principal, change: Change) -> Result<Principal> {
    let user = by.in_person()?;
    if by.org() != base.org {
        return Err(forbidden("The person belongs to another organisation."));
    }
    let own = base.id == PrincipalId::User(user);
    match change {
        Change::SetRole(role) => {
            by.manages()?;
            owners_alone_touch_owners(by, base)?;
            owners_make_owners(by, role)?;
            if !base.active {
                return Err(conflict("The person was removed; invite them anew."));
            }
            let epoch = next(base.epoch)?;
            Ok(Principal { role: Some(role), epoch, ..successor(base)? })
        }
        Change::Deactivate => {
            if !own {
                by.manages()?;
                owners_alone_touch_owners(by, base)?;
            }
            let epoch = next(base.epoch)?;
            Ok(Principal {
                active: false,
                verifier: None,
                asserted: None,
                email: None,
                mfa: None,
                passkeys: None,
                epoch,
                ..successor(base)?
            })
        }
        Change::Update(_) | Change::RotateKey(_) | Change::CreateAgent { .. } => {
            Err(forbidden("People's records change by their role and their end alone."))
        }
    }
}

fn owners_alone_touch_owners(by: &Checked, base: &Principal) -> Result<()> {
    if base.role == Some(Role::Owner) { owners_make_owners(by, Role::Owner) } else { Ok(()) }
}

fn owners_make_owners(by: &Checked, role: Role) -> Result<()> {
    if role == Role::Owner && by.record().role != Some(Role::Owner) {
        return Err(forbidden("Only an owner makes, changes or removes an owner."));
    }
    Ok(())
}

/// The person in the organisation that invites: with their login and second factor, and nothing else from before.
fn moved(base: &Principal, invitation: &Invitation) -> Result<Principal> {
    if base.org == invitation.org {
        return Err(conflict("You belong to this organisation already."));
    }
    // A person from before records had addresses has none.
    if base.email.as_ref().is_some_and(|own| *own != invitation.email) {
        return Err(tampered("The invitation is to another address than the person's."));
    }
    Ok(Principal {
        org: invitation.org,
        role: Some(invitation.role),
        email: Some(invitation.email.clone()),
        scopes: Vec::new(),
        vault_ids: Vec::new(),
        epoch: next(base.epoch)?,
        ..successor(base)?
    })
}

/// What a person may be recognised by.
fn persons_own(assertion: &Assertion) -> Result<Assertion> {
    match assertion {
        Assertion::Person { issuer, subject } if is_name(issuer) && is_name(subject) => Ok(assertion.clone()),
        _ => Err(invalid("login: must be a person whom an issuer knows.")),
    }
}

pub fn has_password(record: &Principal) -> Result<&Verifier> {
    record
        .verifier
        .as_ref()
        .filter(|verifier| verifier.kind == CredentialKind::Password)
        .ok_or_else(|| forbidden("This account logs in through an identity provider, and has no password."))
}

/// Later than now, and no later than `most` from now.
pub fn in_time(expires_at: Time, now: Time, most: Duration) -> Result<()> {
    if now < expires_at && expires_at <= now.plus(most) {
        Ok(())
    } else {
        Err(invalid(format!("expires_at: must be within {} s from now.", most.as_secs())))
    }
}
