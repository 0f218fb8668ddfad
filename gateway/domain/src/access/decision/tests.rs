//! The decision against a plain reading of the rules, whatever is asked.

use proptest::prelude::*;

use super::*;
use crate::access::{DeleteSecret, ReadSecret, Reading, WriteSecret, read, secret};
use crate::policy::Conditions;
use crate::{AgentId, OrgId, PathGlob, PrincipalId, UserId, VaultId};

const PATTERNS: [&str; 5] = ["**", "a", "a/*", "*/b", "b/**"];
const PATHS: [&str; 4] = ["a", "a/b", "b", "b/a/b"];

fn permission() -> impl Strategy<Value = Permission> {
    prop_oneof![Just(Permission::Read), Just(Permission::Write), Just(Permission::Delete)]
}

/// Pattern, permission, whose it is, whose vault, how it ends, its condition.
type Draft = (usize, Permission, bool, bool, u8, u8);

fn draft() -> impl Strategy<Value = Draft> {
    (0..PATTERNS.len(), permission(), any::<bool>(), any::<bool>(), 0..3_u8, 0..5_u8)
}

fn glob(which: usize) -> PathGlob {
    PathGlob::parse("pattern", PATTERNS[which]).unwrap()
}

fn holds_now(end: u8, condition: u8) -> bool {
    end != 1 && condition < 2
}

proptest! {
    #[test]
    fn the_permit_and_the_explanation_say_what_the_rules_say(
        drafts in proptest::collection::vec(draft(), 0..5),
        wanted in permission(),
        path in 0..PATHS.len(),
        (made, reserved, bound) in (any::<bool>(), any::<bool>(), 0..3_u8),
        scopes in proptest::option::of(0..PATTERNS.len()),
    ) {
        let (org, me, other) = (OrgId::new(), PrincipalId::Agent(AgentId::new()), PrincipalId::User(UserId::new()));
        let (here, elsewhere) = (VaultId::new(), VaultId::new());
        let vault = VaultFacts { id: here, org, creator: if made { me } else { other }, reserved };
        let now = Time::from_seconds(1000);
        let policies: Vec<Policy> = drafts.iter().map(|&(pattern, permission, mine, local, end, condition)| {
            let conditions = match condition {
                0 => serde_json::json!({}),
                1 => serde_json::json!({"ip_allowlist": ["10.0.0.0/8"]}),
                2 => serde_json::json!({"ip_allowlist": ["11.0.0.0/8"]}),
                3 => serde_json::json!({"require_approval": true, "ip_allowlist": ["10.0.0.0/8"]}),
                _ => serde_json::json!({"moon": "full"}),
            };
            Policy {
                id: PolicyId::new(),
                vault: if local { here } else { elsewhere },
                pattern: glob(pattern),
                principal: if mine { me } else { other },
                permissions: vec![permission],
                conditions: Conditions::stored(conditions.as_object().unwrap().clone()),
                expires_at: [None, Some(now), Some(Time::from_seconds(1001))][usize::from(end)],
                created_by: other,
                created_at: Time::from_seconds(0),
            }
        }).collect();
        let ids = [Vec::new(), vec![here], vec![elsewhere]];
        let scopes: Vec<PathGlob> = scopes.into_iter().map(glob).collect();
        let subject = Subject {
            id: me, org, role: None, vault_ids: &ids[usize::from(bound)], scopes: &scopes, key: None, device: false,
            address: Some([10, 0, 0, 1].into()), at: now,
        };
        let path = SecretPath::parse(PATHS[path]).unwrap();

        let given = policies.iter().zip(&drafts).any(|(policy, &(_, permission, mine, local, end, condition))| {
            mine && local && holds_now(end, condition) && policy.pattern.matches(&path)
                && (permission == wanted || (permission, wanted) == (Permission::Write, Permission::Delete))
        });
        let expected = (!reserved || wanted == Permission::Read)
            && bound != 2
            && (scopes.is_empty() || scopes[0].matches(&path))
            && ((made && !reserved) || given);

        let question = Question { subject: &subject, vault: &vault, wanted, path: &path };
        let decision = question.decide(&policies);
        let permit = match wanted {
            Permission::Read => secret::<ReadSecret>(&subject, &vault, &policies, path.clone()).is_ok(),
            Permission::Write => secret::<WriteSecret>(&subject, &vault, &policies, path.clone()).is_ok(),
            Permission::Delete => secret::<DeleteSecret>(&subject, &vault, &policies, path.clone()).is_ok(),
        };
        prop_assert_eq!(decision.allows(), expected);
        prop_assert_eq!(permit, expected);

        let awaits = policies.iter().zip(&drafts).any(|(policy, &(_, permission, mine, local, end, condition))| {
            mine && local && end != 1 && condition == 3 && policy.pattern.matches(&path) && permission == Permission::Read
        });
        let within = bound != 2 && (scopes.is_empty() || scopes[0].matches(&path)) && wanted == Permission::Read;
        prop_assert_eq!(matches!(decision, Decision::Approval(_)), within && awaits && !expected);
        if wanted == Permission::Read {
            match read(&subject, &vault, &policies, path.clone()) {
                Ok(Reading::Now(_)) => prop_assert!(expected),
                Ok(Reading::Asked(_)) => prop_assert!(within && awaits && !expected),
                Err(_) => prop_assert!(!(expected || within && awaits)),
            }
        }
        let gives = format!("gives {}", wanted.as_str());
        if let Some(id) = decision.policy() {
            let said = if expected { gives.as_str() } else { "once somebody has approved it" };
            let named = question.reasons(&policies).iter().any(|l| l.contains(&id.to_string()) && l.ends_with(said));
            prop_assert!(named);
        }
        prop_assert_eq!(question.reasons(&policies).iter().any(|l| l.ends_with(&gives)), given);
    }
}
