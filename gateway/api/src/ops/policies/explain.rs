//! Why somebody may do something with a secret, or why not.

use std::net::IpAddr;

use domain::access::{self, Decision, ExplainAccess, Question, SecretAt, Subject};
use domain::policy::{Permission, Policy};
use domain::{Error, OrMissing as _, PolicyId, PrincipalId, Result, SecretPath, Time, VaultId, ip_rule};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Principal;
use store::secrets;

use crate::access::SignedIn;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};

#[derive(Deserialize, JsonSchema)]
pub struct ExplainRequest {
    /// `user` or `agent`
    principal_type: String,
    principal_id: String,
    /// `read`, `write` or `delete`
    action: String,
    vault_id: VaultId,
    path: String,
    /// When; left out: now.
    #[serde(default)]
    at: Option<Time>,
    /// From where; left out: from where you ask, if it is about yourself, else from nowhere that is known.
    #[serde(default)]
    ip_address: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct ExplainResponse {
    allowed: bool,
    /// What decides: `ownership` or `policy`; where it is refused `approval` (people must approve the read), `principal` (suspended, ended or expired), `ip_rules`, `suspension` (of all agents), `reserved`,
    /// `binding`, `scopes`, `intents` (it uses keys and never reads or writes one) or `none` (nothing gives it).
    decided_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_id: Option<PolicyId>,
    /// A line for each step, and for each policy of the principal's on the vault, with why.
    reasons: Vec<String>,
}

/// Explains a decision.
pub struct ExplainAccessTo;

impl Operation for ExplainAccessTo {
    const ROUTE: Route = Route::new(
        "explainAccess",
        Method::POST,
        "/v1/policies/explain",
        200,
        "Whether a principal may read, write or delete at a path, which rule decides, and why. For owners and admins, the \
         vault's creator, and anyone about themselves.",
    );
    type Path = ();
    type Params = decode::From<ExplainRequest>;
    type Output = ExplainResponse;
    type Access = SignedIn;

    async fn run(
        cx: &Cx,
        caller: PrincipalId,
        (): (),
        decode::From(asked): Self::Params,
    ) -> Result<Reply<ExplainResponse>> {
        let who = PrincipalId::from_parts(&asked.principal_type, &asked.principal_id)?;
        let wanted: Permission =
            asked.action.parse().map_err(|_| Error::invalid("action", "must be read, write or delete"))?;
        let path = SecretPath::parse(&asked.path)?;
        let address = asked.ip_address.as_deref().map(address).transpose()?;
        let at = asked.at.unwrap_or_else(|| cx.now());
        let vault = cx.vault(asked.vault_id).await?.or_missing("vault")?;
        let facts = vault.facts();
        let mine = cx.subject()?;
        if facts.org != mine.org {
            return Err(Error::missing("vault"));
        }
        if who != caller {
            access::vault::<ExplainAccess>(&mine, &facts, &cx.policies().await?)?;
        }
        let known = cx.gateway.known.principal(cx.store(), who, mine.org).await?;
        let known = known.ok_or_else(|| {
            Error::invalid("principal_id", "must be a user or an agent of your organisation")
        })?;
        let subject = if who == caller {
            Subject { at, address: address.or(mine.address), ..mine }
        } else {
            Subject { address, ..known.absent(at) }
        };
        let policies = cx.gateway.known.policies(cx.store(), who).await?;
        let question = Question { subject: &subject, vault: &facts, wanted, path: &path };
        explain(cx, &known.principal, question, &policies).await.map(Reply::of)
    }
}

async fn explain(
    cx: &Cx,
    who: &Principal,
    question: Question<'_>,
    policies: &[Policy],
) -> Result<ExplainResponse> {
    let decision = question.decide(policies);
    let mut reasons = question.reasons(policies);
    let door = at_the_door(cx, who, question.subject).await?;
    if let Some((by, reason)) = door {
        reasons.insert(0, format!("{by}: {reason}"));
    }
    // Whoever asks may know it: they manage the vault, or the decision lets them see what is there.
    let approvable = matches!(decision, Decision::Approval(_));
    let keys = who.intents && (decision.allows() || approvable) && {
        let at = SecretAt { vault: question.vault.id, path: question.path.clone() };
        secrets::facts(cx.store(), &at).await?.is_some_and(|version| version.kind.is_key())
    };
    if keys {
        reasons.push(
            "intents: there is a key, which an agent with intents_api_enabled uses and never touches"
                .to_owned(),
        );
    }
    let allowed = decision.allows() && door.is_none() && !keys;
    let decided_by = match (door, keys) {
        (Some((by, _)), _) => by,
        (None, true) => "intents",
        (None, false) => decision.by(),
    };
    Ok(ExplainResponse {
        allowed,
        decided_by,
        policy_id: decision.policy().filter(|_| allowed || (approvable && decided_by == decision.by())),
        reasons,
    })
}

/// What refuses the principal whatever it asks for: by what, and why.
async fn at_the_door(
    cx: &Cx,
    who: &Principal,
    subject: &Subject<'_>,
) -> Result<Option<(&'static str, &'static str)>> {
    if !who.active || who.expires_at.is_some_and(|end| subject.at >= end) {
        return Ok(Some(("principal", "suspended, ended or expired; its tokens are refused")));
    }
    let gate = cx.gateway.known.gate(cx.store(), who.org).await?;
    if !ip_rule::admits(&gate.rules, who.id, subject.address) {
        return Ok(Some((
            "ip_rules",
            "a rule of the organisation denies this address, or that there is none",
        )));
    }
    if gate.agents_suspended && matches!(who.id, PrincipalId::Agent(_)) {
        return Ok(Some(("suspension", "the organisation has suspended all of its agents")));
    }
    Ok(None)
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| Error::invalid("ip_address", "must be an address such as 10.1.2.3 or 2001:db8::1"))
}
