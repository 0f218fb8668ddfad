//! Devices that a person lets in from another (RFC 8628).

use std::time::Duration;

use signer_protocol::Attested;
use signer_protocol::device::{ApproveDevice, DeviceGrant, IssueDeviceToken};
use signer_protocol::token::IssuedToken;
use subtle::ConstantTimeEq as _;

use crate::authority::Authority;
use crate::encoding::sha256;
use crate::people::in_time;
use crate::refuse::{Result, conflict, invalid, tampered, unauthenticated};
use crate::tokens::{bad_token, claims};

/// How long a grant may wait for its device, and its code live.
const LONGEST_GRANT: Duration = Duration::from_secs(600);

/// Of a token that a device gets.
const DEVICE_TOKEN_SECONDS: i64 = 86_400;

impl Authority {
    /// A person's leave for whoever holds the code with this hash. One device lets no other in.
    pub async fn approve_device(&self, request: ApproveDevice) -> Result<Attested<DeviceGrant>> {
        let ApproveDevice { by, id, code, expires_at } = request;
        let by = self.caller(&by).await?;
        let user = by.in_person()?;
        if code.0.len() != 32 {
            return Err(invalid("code: must be the SHA-256 of the device's code."));
        }
        in_time(expires_at, self.clock.now(), LONGEST_GRANT)?;
        let grant = DeviceGrant { id, user, org: by.org(), epoch: by.record().epoch, code, expires_at };
        self.statements.attest(&grant).await
    }

    /// The device's token, once.
    pub async fn issue_device_token(&self, request: IssueDeviceToken) -> Result<IssuedToken> {
        let (record, user) = self.person(&request.record).await?;
        let grant = self.statements.verify(&request.grant).await?;
        if (grant.user, grant.org) != (user, record.org) {
            return Err(tampered("The grant is another person's."));
        }
        if grant.epoch != record.epoch {
            return Err(bad_token());
        }
        if !bool::from(sha256(request.code.expose()).ct_eq(&grant.code.0)) {
            return Err(unauthenticated("The device's code is wrong."));
        }
        let now = self.clock.now();
        if now >= grant.expires_at {
            return Err(conflict("The device's code has expired; start again."));
        }
        self.ledger.use_grant(grant.id, grant.expires_at).await?;
        let mut claims = claims(&record, Vec::new(), now);
        let end = now.seconds().saturating_add(DEVICE_TOKEN_SECONDS);
        claims.exp = record.expires_at.map_or(end, |last| end.min(last.seconds()));
        claims.device = true;
        self.issued(claims).await
    }
}
