//! What costs much is done once at a time for each organisation, and for few at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Error, Kind, OrgId, Result};

#[derive(Clone)]
pub struct Once {
    busy: Arc<Mutex<HashSet<OrgId>>>,
    /// Organisations at once, at this gateway.
    places: usize,
}

/// Held while it is done.
pub struct Doing {
    once: Once,
    org: OrgId,
}

impl Once {
    pub fn new(places: usize) -> Self {
        Self { busy: Arc::default(), places }
    }

    /// # Errors
    /// `TooManyRequests` while the organisation has it done already, or too many others do.
    pub fn begin(&self, org: OrgId) -> Result<Doing> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.contains(&org) || busy.len() >= self.places {
            let detail =
                "An audit trail is being verified or exported at this moment; try again when that is done.";
            return Err(Error::new(Kind::TooManyRequests { retry_after: 10 }, detail));
        }
        busy.insert(org);
        Ok(Doing { once: self.clone(), org })
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.once.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.org);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organisation_once_and_few_at_all() {
        let once = Once::new(3);
        let org = OrgId::new();
        let first = once.begin(org).unwrap();
        assert!(once.begin(org).is_err());
        let others: Vec<_> = (1..3).map(|_| once.begin(OrgId::new()).unwrap()).collect();
        assert!(once.begin(OrgId::new()).is_err());
        drop((first, others));
        assert!(once.begin(org).is_ok());
    }
}
