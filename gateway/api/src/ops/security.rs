//! From where an organisation's people and agents may come.

use domain::access::{ManageIpRules, Permit, SeeIpRules};
use domain::audit::Event;
use domain::ip_rule::{AppliesTo, Effect, IpRule, admits, network};
use domain::{Clock, Error, EventId, IpRuleId, OrMissing as _, OrgId, PrincipalId, Result, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::ip_rules::{self, Stored};
use store::{Store, users};

use super::auth::email;
use super::{OfIpRule, name};
use crate::access::InOrg;
use crate::cx::{Act, Cx};
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};

type May = Permit<ManageIpRules, OrgId>;

/// Every request looks at all of them.
const MAX_RULES: usize = 500;

#[derive(Serialize, JsonSchema)]
pub struct IpRuleResponse {
    id: IpRuleId,
    org_id: OrgId,
    /// `allow` or `deny`
    rule_type: Effect,
    cidr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// `all`, `users` or `agents`
    applies_to: AppliesTo,
    created_by: UserId,
    created_at: Time,
}

impl From<Stored> for IpRuleResponse {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id,
            org_id: stored.org,
            rule_type: stored.rule.effect,
            cidr: stored.rule.net.to_string(),
            label: stored.label,
            applies_to: stored.rule.applies_to,
            created_by: stored.created_by,
            created_at: stored.created_at,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateIpRuleRequest {
    /// `allow`, `deny`, or `block`, which is the same as `deny`
    rule_type: Effect,
    /// An address, or a network such as `10.0.0.0/8`.
    cidr: String,
    #[serde(default)]
    label: Option<String>,
    /// `all` when left out
    #[serde(default)]
    applies_to: Option<AppliesTo>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Adds a rule.
pub struct CreateIpRule;

impl Operation for CreateIpRule {
    const ROUTE: Route = Route::new(
        "createIpRule",
        Method::POST,
        "/v1/security/ip-rules",
        201,
        "Allows or denies an address or a network; with one allow rule or more, all others are denied.",
    )
    .audited("ip_rule.create", "ip_rule");
    type Path = ();
    type Params = decode::From<CreateIpRuleRequest>;
    type Output = IpRuleResponse;
    type Access = InOrg<ManageIpRules>;

    async fn run(
        cx: &Cx,
        may: May,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<IpRuleResponse>> {
        let net = network(&new.cidr)?;
        let label = new.label.filter(|label| !label.is_empty());
        let new = Stored {
            id: IpRuleId::new(),
            org: may.org(),
            rule: IpRule { effect: new.rule_type, net, applies_to: new.applies_to.unwrap_or_default() },
            label: label.map(|label| name("label", &label)).transpose()?,
            created_by: person(&may)?,
            created_at: cx.now(),
        };
        let mut act = cx.begin().await?;
        let rules = ip_rules::take(&mut act, &may).await?;
        if rules.len() >= MAX_RULES {
            return Err(Error::conflict(format!(
                "There are {MAX_RULES} rules already; delete some, or name networks."
            )));
        }
        keeps_its_author(cx, &may, rules.iter().chain([&new]))?;
        ip_rules::insert(&mut act, &may, &new).await?;
        commit(cx, act, &new).await?;
        Ok(Reply::of(new.into()))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct IpRulesListResponse {
    rules: Vec<IpRuleResponse>,
}

/// The organisation's rules.
pub struct ListIpRules;

impl Operation for ListIpRules {
    const ROUTE: Route = Route::new(
        "listIpRules",
        Method::GET,
        "/v1/security/ip-rules",
        200,
        "Your organisation's IP rules, oldest first.",
    );
    type Path = ();
    type Params = ();
    type Output = IpRulesListResponse;
    type Access = InOrg<SeeIpRules>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeIpRules, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<IpRulesListResponse>> {
        let rules = ip_rules::list(cx.store(), &may).await?;
        Ok(Reply::of(IpRulesListResponse { rules: rules.into_iter().map(IpRuleResponse::from).collect() }))
    }
}

/// Deletes a rule.
pub struct DeleteIpRule;

impl Operation for DeleteIpRule {
    const ROUTE: Route = Route::new(
        "deleteIpRule",
        Method::DELETE,
        "/v1/security/ip-rules/{rule_id}",
        204,
        "Deletes an IP rule.",
    )
    .audited("ip_rule.delete", "ip_rule");
    type Path = OfIpRule;
    type Params = ();
    type Output = ();
    type Access = InOrg<ManageIpRules>;

    async fn run(cx: &Cx, may: May, path: OfIpRule, (): ()) -> Result<Reply<()>> {
        let mut act = cx.begin().await?;
        let rules = ip_rules::take(&mut act, &may).await?;
        let gone = ip_rules::delete(&mut act, &may, path.rule_id).await?.or_missing("IP rule")?;
        keeps_its_author(cx, &may, rules.iter().filter(|rule| rule.id != gone.id))?;
        commit(cx, act, &gone).await?;
        Ok(Reply::of(()))
    }
}

async fn commit(cx: &Cx, mut act: Act, rule: &Stored) -> Result<()> {
    for (name, value) in details(&rule.rule) {
        act.note(name, value);
    }
    act.commit(rule.id).await?;
    cx.gateway.known.forget_gate(rule.org).await;
    Ok(())
}

fn details(rule: &IpRule) -> [(&'static str, String); 3] {
    [
        ("rule_type", rule.effect.as_str().to_owned()),
        ("cidr", rule.net.to_string()),
        ("applies_to", rule.applies_to.as_str().to_owned()),
    ]
}

/// Removes all rules of the organisation of the account with this email, for when they let nobody in: done on the gateway's
/// host, by whoever operates it. How many there were.
///
/// # Errors
/// `Missing` if nobody has the address.
pub async fn lift_ip_rules(store: &Store, address: &str) -> Result<usize> {
    let user = users::facts_by_email(store, &email(address)?).await?.or_missing("account")?;
    let now = Clock::default().now();
    let mut tx = store.begin().await?;
    let lifted = ip_rules::lift(&mut tx, user.org).await?;
    for rule in &lifted {
        let details = details(&rule.rule).map(|(name, value)| (name.to_owned(), value.into()));
        tx.record(Event {
            id: EventId::new(),
            org: user.org,
            action: "ip_rule.delete",
            actor: None,
            resource: ("ip_rule", rule.id.to_string()),
            details: details.into_iter().collect(),
            address: None,
            at: now,
        });
    }
    tx.commit().await?;
    Ok(lifted.len())
}

/// Whoever changes the rules must be let in by what comes of it: they could not take it back.
fn keeps_its_author<'a>(cx: &Cx, may: &May, rules: impl Iterator<Item = &'a Stored>) -> Result<()> {
    let rules: Vec<&IpRule> = rules.map(|stored| &stored.rule).collect();
    if admits(rules.iter().copied(), may.by(), cx.address) {
        return Ok(());
    }
    let Some(own) = cx.address else {
        return Err(Error::conflict(
            "With these rules you would be locked out: they deny your address, which is not known. The proxy in front of \
             Talon must say it.",
        ));
    };
    // No allowance helps against a denial.
    let denials = rules.into_iter().filter(|rule| rule.effect == Effect::Deny);
    let advice = if admits(denials, may.by(), cx.address) {
        "First allow the address that you come from."
    } else {
        "Leave your own address out of what you deny."
    };
    Err(Error::conflict(format!("With these rules you would be locked out: they deny {own}. {advice}")))
}

fn person(may: &May) -> Result<UserId> {
    match may.by() {
        PrincipalId::User(id) => Ok(id),
        PrincipalId::Agent(id) => Err(Error::internal(format!("agent {id} manages IP rules"))),
    }
}
