//! Who is in an organisation: invited, joined, promoted, removed.

use harness::{Authenticator, PASSWORD, Person, World, both, json};
use reqwest::Method;
use sha2::{Digest as _, Sha256};

use crate::approvals::member;
use crate::devices::through_a_device;
use crate::shares::{asked, secret};

/// Invites somebody; what the mailed link holds.
async fn invite(by: &Person<'_>, email: &str, role: &str) -> String {
    by.post("/v1/org/invite", &json!({"email": email, "role": role})).expect(200, email).await;
    by.world.ticket(email, "You are invited").await
}

/// Signs a new person up with an invitation.
async fn sign_up<'w>(w: &'w World, email: &str, ticket: &str) -> Person<'w> {
    let body = json!({"email": email, "password": PASSWORD, "invitation": ticket});
    let answer = w.post("/v1/auth/signup", &body).expect(200, "access_token").await;
    Person::new(w, email.to_owned(), answer["access_token"].as_str().unwrap().to_owned())
}

async fn log_in<'w>(w: &'w World, email: &str) -> Person<'w> {
    let answer = w
        .post("/v1/auth/token", &json!({"email": email, "password": PASSWORD}))
        .expect(200, "access_token")
        .await;
    Person::new(w, email.to_owned(), answer["access_token"].as_str().unwrap().to_owned())
}

/// Emails and roles, oldest first.
async fn people(by: &Person<'_>) -> Vec<(String, String)> {
    let list = by.get("/v1/org/members").expect(200, "members").await;
    let text = |value: &harness::Value| value.as_str().unwrap().to_owned();
    list["members"].as_array().unwrap().iter().map(|m| (text(&m["email"]), text(&m["role"]))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, role)| (format!("{name}@example.org"), (*role).to_owned())).collect()
}

both! {
    async fn an_invited_person_signs_up_into_the_organisation(w: World) {
        let ada = w.owner("ada").await;
        ada.post("/v1/org/invite", &json!({"email": " Bob@Example.org", "role": "admin"})).expect(200, "bob@example.org").await;
        let ticket = w.ticket("bob@example.org", "You are invited").await;
        let open = ada.get("/v1/org/invitations").expect(200, "bob@example.org").await;
        assert!(!open.to_string().contains(&ticket));
        // With the link, but in another name.
        let eve = json!({"email": "eve@example.org", "password": PASSWORD, "invitation": ticket});
        w.post("/v1/auth/signup", &eve).expect(403, "another address").await;
        // By name, but without the link: an organisation of their own.
        let bob = sign_up(&w, "bob@example.org", &ticket).await;
        assert_eq!(people(&bob).await, pairs(&[("ada", "owner"), ("bob", "admin")]));
        let me = bob.get("/v1/auth/me").expect(200, "admin").await;
        assert_eq!((&me["role"], &me["email_verified"]), (&json!("admin"), &json!(true)));
        assert_eq!(ada.get("/v1/org/invitations").expect(200, "").await["invitations"], json!([]));
        let again = json!({"email": "bob2@example.org", "password": PASSWORD, "invitation": ticket});
        w.post("/v1/auth/signup", &again).expect(403, "taken up or taken back").await;
        log_in(&w, "bob@example.org").await;
    }
}

both! {
    async fn who_signs_up_without_the_link_is_nobodys_member(w: World) {
        let ada = w.owner("ada").await;
        invite(&ada, "bob@example.org", "admin").await;
        let bob = w.owner("bob").await;
        assert_eq!(people(&bob).await, pairs(&[("bob", "owner")]));
        assert_eq!(people(&ada).await, pairs(&[("ada", "owner")]));
    }
}

both! {
    async fn somebody_with_an_account_joins_with_nothing_but_the_account(w: World) {
        let (ada, bob) = (w.owner("ada").await, w.owner("bob").await);
        let (_, key) = bob.api_key(&json!({"name": "ci"})).await;
        let ticket = invite(&ada, "bob@example.org", "member").await;
        let join = json!({"invitation": ticket});
        w.post("/v1/org/join", &join).expect(401, "").await;
        w.owner("eve").await.post("/v1/org/join", &join).expect(403, "another address").await;
        bob.through(&key).post("/v1/org/join", &join).expect(403, "API key").await;
        let vault = bob.vault("mine").await;
        bob.post("/v1/org/join", &join).expect(409, "last owner").await;
        bob.delete(&format!("/v1/vaults/{}", vault.id)).expect(204, "").await;
        let bot = bob.agent("bot").make().await;
        bob.post("/v1/org/join", &join).expect(409, "last owner").await;
        bob.post(&format!("/v1/agents/{}/suspend", bot.id), &json!({})).expect(200, "").await;
        bob.post("/v1/org/join", &join).expect(409, "last owner").await;
        bob.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        let certificate = json!({"name": "m", "auth_method": "mtls", "client_cert_fingerprint": "ab".repeat(32)});
        let keyless = bob.post("/v1/agents", &certificate).expect(201, "id").await;
        let keyless = format!("/v1/agents/{}", keyless["agent"]["id"].as_str().unwrap());
        bob.post(&format!("{keyless}/suspend"), &json!({})).expect(200, "").await;
        bob.post("/v1/org/join", &join).expect(409, "last owner").await;
        bob.delete(&keyless).expect(204, "").await;
        // Nor does a stranger hold him back, who enrols an agent with him.
        w.post("/v1/agents/enroll", &json!({"name": "scout", "human_email": "bob@example.org"})).expect(201, "agent_id").await;
        w.mail("bob@example.org", "An agent asks for its key").await;
        bob.post("/v1/org/join", &join).expect(204, "").await;
        let told = w.mail("bob@example.org", "You have joined an organisation").await;
        // It is called as its first owner.
        assert!(told.contains("\"adaexampleorg\""), "{told}");
        bob.get("/v1/auth/me").expect(401, "").await;
        bob.through(&key).get("/v1/auth/me").expect(401, "").await;
        let bob = log_in(&w, "bob@example.org").await;
        assert_eq!(people(&bob).await, pairs(&[("ada", "owner"), ("bob", "member")]));
        bob.post("/v1/org/join", &join).expect(403, "taken up or taken back").await;
        bob.vault("in the new place").await;
    }
}

both! {
    async fn an_invitation_is_replaced_and_taken_back(w: World) {
        let ada = w.owner("ada").await;
        let first = invite(&ada, "bob@example.org", "member").await;
        let second = invite(&ada, "bob@example.org", "admin").await;
        assert_ne!(first, second);
        let body = |ticket: &str| json!({"email": "bob@example.org", "password": PASSWORD, "invitation": ticket});
        w.post("/v1/auth/signup", &body(&first)).expect(403, "taken up or taken back").await;
        let open = ada.get("/v1/org/invitations").expect(200, "admin").await;
        assert_eq!(open["invitations"].as_array().unwrap().len(), 1);
        let path = format!("/v1/org/invitations/{}", open["invitations"][0]["id"].as_str().unwrap());
        w.owner("eve").await.delete(&path).expect(404, "No such invitation").await;
        ada.delete(&path).expect(204, "").await;
        ada.delete(&path).expect(404, "No such invitation").await;
        w.post("/v1/auth/signup", &body(&second)).expect(403, "taken up or taken back").await;
        for bad in [json!({}), json!({"email": "bob"}), json!({"email": "bob@example.org", "role": "root"})] {
            ada.post("/v1/org/invite", &bad).expect(400, "").await;
        }
        // What newer clients may send is ignored.
        ada.post("/v1/org/invite", &json!({"email": "cleo@example.org", "note": "x"})).expect(200, "cleo").await;
        ada.post("/v1/org/invite", &json!({"email": "ada@example.org"})).expect(409, "in your organisation already").await;
    }
}

both! {
    /// By two organisations or one, by taking invitations back, by shares or by agents that enrol; and nobody is kept from a
    /// new password that way.
    async fn nobody_is_flooded_with_invitations(w: World) {
        let (ada, eve, bob) = (w.owner("ada").await, w.owner("eve").await, w.owner("bob").await);
        let body = json!({"email": bob.email});
        for n in 0..25 {
            let by = if n % 2 == 0 { &ada } else { &eve };
            let reply = by.post("/v1/org/invite", &body).reply().await;
            if n < 20 {
                reply.expect(200, "bob@example.org");
            } else {
                let wait: u64 = reply.headers["retry-after"].parse().unwrap();
                assert!((3000..=3600).contains(&wait), "{wait}");
                reply.expect(429, "Too many");
            }
        }
        let open = ada.get("/v1/org/invitations").expect(200, "bob@example.org").await;
        let id = open["invitations"][0]["id"].as_str().unwrap();
        ada.delete(&format!("/v1/org/invitations/{id}")).expect(204, "").await;
        ada.post("/v1/org/invite", &body).expect(429, "Too many").await;
        ada.post("/v1/org/invite", &json!({"email": "cleo@example.org"})).expect(200, "cleo").await;

        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "note").await;
        let to_bob = json!({"recipient_type": "external_email", "email": bob.email});
        asked(&ada, &secret, to_bob).expect(429, "Too many").await;
        // What is refused for another reason takes no place in anybody's mailbox.
        let open = json!({"recipient_type": "anyone_with_link"});
        for _ in 0..10 {
            asked(&ada, &secret, open.clone()).reply().await;
        }
        let to_dora = json!({"recipient_type": "external_email", "email": "dora@example.org"});
        for _ in 0..21 {
            asked(&ada, &secret, to_dora.clone()).expect(429, "Too many").await;
        }
        eve.post("/v1/org/invite", &json!({"email": "dora@example.org"})).expect(200, "dora").await;
        // Who enrols an agent is not told.
        w.post("/v1/agents/enroll", &json!({"name": "scout", "human_email": bob.email})).expect(201, "agent_id").await;
        let pool = w.database().await;
        for table in ["enrolments", "agents"] {
            let count: (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"))).fetch_one(&pool).await.unwrap();
            assert_eq!(count.0, 0, "{table}");
        }
        w.mail(&bob.email, "You are invited").await;
        // Mails leave in their order: once one that was asked for afterwards is there, no other is on its way. An invitation
        // that was replaced before it left is not sent.
        w.post("/v1/auth/forgot-password", &body).expect(202, "").await;
        w.mail(&bob.email, "A new password").await;
        let mut mails = 1;
        while w.has_mail(&bob.email, "You are invited") {
            w.mail(&bob.email, "You are invited").await;
            mails += 1;
        }
        assert!(mails <= 20, "{mails}");
    }
}

both! {
    async fn an_organisation_invites_so_many_in_an_hour(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let beside = w.beside().await;
        let invite = |n: usize| {
            let call = match n % 2 {
                0 => ada.call(Method::POST, "/v1/org/invite"),
                _ => beside.call(Method::POST, "/v1/org/invite", Some(&ada.token)),
            };
            call.json(&json!({"email": format!("n{n}@example.org")})).reply()
        };
        let replies = futures::future::join_all((0..65).map(invite)).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 60);
        for reply in replies.into_iter().filter(|reply| reply.status != 200) {
            reply.expect(429, "Too many");
        }
        eve.post("/v1/org/invite", &json!({"email": "n0@example.org"})).expect(200, "n0").await;
    }
}

both! {
    /// Whoever writes to the database turns somebody's invitation into one for themselves, with a link of their own.
    async fn an_invitation_is_for_the_address_that_it_was_given_for(w: World) {
        let ada = w.owner("ada").await;
        let eve = w.owner("eve").await;
        invite(&ada, "bob@example.org", "admin").await;
        let planted = "eve's own";
        let hash = hex::encode(Sha256::digest(planted.as_bytes()));
        let hash = match w.database_url().starts_with("sqlite") {
            true => format!("X'{hash}'"),
            false => format!("decode('{hash}', 'hex')"),
        };
        assert_eq!(w.sql(&format!("UPDATE tickets SET hash = {hash} WHERE purpose = 'invitation'")).await, 1);
        for (email, known) in [("eve@example.org", true), ("mallory@example.org", false)] {
            assert_eq!(w.sql(&format!("UPDATE invitations SET email = '{email}'")).await, 1);
            if known {
                eve.post("/v1/org/join", &json!({"invitation": planted})).expect(403, "another address").await;
            } else {
                let body = json!({"email": email, "password": PASSWORD, "invitation": planted});
                w.post("/v1/auth/signup", &body).expect(403, "another address").await;
            }
        }
        assert_eq!(people(&ada).await, pairs(&[("ada", "owner")]));
    }
}

both! {
    async fn an_invitation_makes_one_person_however_many_try(w: World) {
        let ada = w.owner("ada").await;
        let ticket = invite(&ada, "bob@example.org", "member").await;
        let body = json!({"email": "bob@example.org", "password": PASSWORD, "invitation": ticket});
        let tries = (0..8).map(|_| w.post("/v1/auth/signup", &body).reply());
        let replies = futures::future::join_all(tries).await;
        let taken = replies.iter().filter(|r| r.status == 200).count();
        assert_eq!(taken, 1, "{:?}", replies.iter().map(|r| (r.status, r.text.clone())).collect::<Vec<_>>());
        assert_eq!(people(&ada).await.len(), 2);
        log_in(&w, "bob@example.org").await;
    }
}

both! {
    async fn roles_and_who_may_give_them(w: World) {
        let ada = w.owner("ada").await;
        let (bob, cleo) = (member(&ada, "bob", "admin").await, member(&ada, "cleo", "member").await);
        let (ada_id, bob_id, cleo_id) = (ada.id().await, bob.id().await, cleo.id().await);
        let at = |id: &str| format!("/v1/org/members/{id}");
        let to = |role: &str| json!({"role": role});
        cleo.get("/v1/org/members").expect(200, "ada@example.org").await;
        cleo.post("/v1/org/invite", &json!({"email": "x@example.org"})).expect(403, "Owners and admins").await;
        cleo.get("/v1/org/invitations").expect(403, "Owners and admins").await;
        cleo.patch(&at(&cleo_id), &to("admin")).expect(403, "Owners and admins").await;
        cleo.delete(&at(&bob_id)).expect(403, "Owners and admins").await;
        bob.post("/v1/org/invite", &json!({"email": "x@example.org", "role": "owner"})).expect(403, "Only an owner").await;
        bob.patch(&at(&cleo_id), &to("owner")).expect(403, "Only an owner").await;
        bob.patch(&at(&ada_id), &to("member")).expect(403, "Only an owner").await;
        bob.delete(&at(&ada_id)).expect(403, "Only an owner").await;
        let bot = ada.agent("bot").make().await;
        bot.get("/v1/org/members").expect(403, "").await;
        bot.delete(&at(&cleo_id)).expect(403, "for people").await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        for (by, told) in [(ada.through(&key), "API key"), (through_a_device(&ada).await, "device's login")] {
            by.post("/v1/org/invite", &json!({"email": "x@example.org"})).expect(403, told).await;
            by.patch(&at(&cleo_id), &to("admin")).expect(403, told).await;
            by.delete(&at(&cleo_id)).expect(403, told).await;
        }
        let eve = w.owner("eve").await;
        for id in [&cleo_id, "01890000-0000-7000-8000-000000000000"] {
            eve.patch(&at(id), &to("admin")).expect(404, "No such member").await;
            eve.delete(&at(id)).expect(404, "No such member").await;
        }

        bob.patch(&at(&cleo_id), &to("admin")).expect(200, "admin").await;
        // Their own accounts end with a confirmation alone, which this asks nobody for.
        for (own, id) in [(&ada, &ada_id), (&bob, &bob_id)] {
            own.delete(&at(id)).expect(409, "DELETE /v1/auth/me").await;
        }
        // The old token says another role: it has ended.
        cleo.get("/v1/auth/me").expect(401, "").await;
        let cleo = log_in(&w, "cleo@example.org").await;
        cleo.patch(&at(&bob_id), &to("member")).expect(200, "member").await;
        ada.patch(&at(&bob_id), &to("owner")).expect(200, "owner").await;
        ada.patch(&at(&cleo_id), &to("king")).expect(400, "role").await;
        assert_eq!(people(&ada).await, pairs(&[("ada", "owner"), ("bob", "owner"), ("cleo", "admin")]));
    }
}

both! {
    async fn one_owner_stays(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "admin").await;
        let (ada_at, bob_at) = (format!("/v1/org/members/{}", ada.id().await), format!("/v1/org/members/{}", bob.id().await));
        ada.patch(&ada_at, &json!({"role": "member"})).expect(409, "last owner").await;
        ada.delete(&ada_at).expect(409, "DELETE /v1/auth/me").await;
        for _ in 0..5 {
            let ada = log_in(&w, "ada@example.org").await;
            ada.patch(&bob_at, &json!({"role": "owner"})).expect(200, "owner").await;
            let bob = log_in(&w, "bob@example.org").await;
            // Each demotes the other, at once: one of them at most succeeds.
            let demote = json!({"role": "admin"});
            let (one, other) = tokio::join!(ada.patch(&bob_at, &demote).reply(), bob.patch(&ada_at, &demote).reply());
            let owners = [log_in(&w, "ada@example.org").await, log_in(&w, "bob@example.org").await];
            let list = people(&owners[0]).await;
            assert!(list.iter().any(|(_, role)| role == "owner"), "{list:?}: {} {}", one.text, other.text);
            assert!([one.status, other.status].iter().all(|s| [200, 401, 403, 409].contains(s)), "{} {}", one.text, other.text);
            if let Some(at) = list.iter().position(|(_, role)| role == "admin") {
                let place = [&ada_at, &bob_at][at];
                owners[1 - at].patch(place, &json!({"role": "owner"})).expect(200, "owner").await;
            }
        }
    }
}

both! {
    async fn a_removed_member_is_gone_at_once(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "member").await;
        let bot = bob.agent("bot").make().await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let id = bob.id().await;
        let body = json!({"secret_path_pattern": "a", "principal_type": "user", "principal_id": id, "permissions": ["read"]});
        ada.post(&format!("/v1/vaults/{}/policies", vault.id), &body).expect(201, "id").await;
        let (_, key) = bob.api_key(&json!({"name": "ci"})).await;
        bob.get(&vault.path("a")).expect(200, "v").await;
        ada.delete(&format!("/v1/org/members/{id}")).expect(204, "").await;
        for token in [&bob.token, &key] {
            bob.through(token).get(&vault.path("a")).expect(401, "").await;
        }
        w.post("/v1/auth/token", &json!({"email": "bob@example.org", "password": PASSWORD})).expect(401, "Wrong email").await;
        ada.delete(&format!("/v1/org/members/{id}")).expect(404, "No such member").await;
        assert_eq!(people(&ada).await, pairs(&[("ada", "owner")]));
        assert_eq!(ada.get(&format!("/v1/vaults/{}/policies", vault.id)).expect(200, "").await["policies"], json!([]));
        // What he made stays, and his address is free.
        ada.get(&format!("/v1/agents/{}", bot.id)).expect(200, "bot").await;
        bot.get("/v1/agents/me").expect(200, "bot").await;
        let bob = w.owner("bob").await;
        bob.get(&vault.path("a")).expect(404, "No such vault").await;
    }
}

both! {
    /// Nobody could operate the installation any more.
    async fn the_last_operator_does_not_move_away(w: World) {
        let (root, eve) = (w.operator().await, w.owner("eve").await);
        let ticket = invite(&eve, &root.email, "member").await;
        root.post("/v1/org/join", &json!({"invitation": ticket})).expect(409, "operates this installation").await;
        root.get("/v1/admin/settings").expect(200, "auth.open_signup").await;
    }
}

both! {
    /// Whatever somebody has set up, they can be removed; whatever changes their record, they can change it again.
    async fn a_second_factor_or_a_device_makes_nobody_stay(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "member").await;
        let id = bob.id().await;
        bob.post("/v1/auth/mfa/setup", &json!({})).expect(200, "otpauth").await;
        ada.patch(&format!("/v1/org/members/{id}"), &json!({"role": "admin"})).expect(200, "admin").await;
        let bob = log_in(&w, "bob@example.org").await;
        let setup = bob.post("/v1/auth/mfa/setup", &json!({})).expect(200, "otpauth").await;
        let app = Authenticator::new(setup["secret"].as_str().unwrap());
        bob.post("/v1/auth/mfa/verify-setup", &json!({"code": app.code(0).await})).expect(200, "recovery_codes").await;
        w.mail("bob@example.org", "Your second factor is on").await;
        let device = w.post("/v1/auth/device/code", &json!({"client_id": "tv"})).expect(200, "user_code").await;
        bob.post("/v1/auth/device/approve", &json!({"user_code": device["user_code"]})).expect(200, "approved").await;
        ada.delete(&format!("/v1/org/members/{id}")).expect(204, "").await;
        bob.get("/v1/auth/me").expect(401, "").await;
        let body = json!({"device_code": device["device_code"], "grant_type": "urn:ietf:params:oauth:grant-type:device_code"});
        let told = w.post("/v1/auth/device/token", &body).reply().await;
        assert!(told.body["access_token"].is_null(), "{}", told.text);
    }
}
