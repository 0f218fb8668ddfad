//! Logging in on a device that has no keyboard to speak of (RFC 8628): a person approves on another.

use domain::{DeviceGrantId, OrgId, Time, UserId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::record::Principal;
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// A person's leave for one device: good once, for whoever holds the device's code.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeviceGrant {
    pub id: DeviceGrantId,
    pub user: UserId,
    pub org: OrgId,
    /// The person's epoch: what ends their tokens ends this.
    pub epoch: u64,
    /// SHA-256 of the device's code.
    pub code: Blob,
    pub expires_at: Time,
}

impl Statement for DeviceGrant {
    const DOMAIN: &'static str = "talon/device-grant/1";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApproveDevice {
    /// A person, in person; not through another device's token.
    pub by: Caller,
    pub id: DeviceGrantId,
    /// SHA-256 of the device's code: 32 bytes.
    pub code: Blob,
    /// 600 s from now at most.
    pub expires_at: Time,
}

/// Turns a grant into a token of 86,400 s. Such a token is its person's, but for what must be done in person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueDeviceToken {
    pub record: Attested<Principal>,
    pub grant: Attested<DeviceGrant>,
    pub code: Secret,
}
