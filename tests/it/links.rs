//! Mailed links, for somebody who writes to the database: none is made there, none moved, none sent elsewhere.

use harness::{PASSWORD, World, both, json};
use sha2::{Digest as _, Sha256};

use crate::refusals::refusals;

const NEW: &str = "Another-Horse-42!x";

/// Puts another ticket into all links that there are.
async fn plant(w: &World, ticket: &str) {
    let plant = sqlx::query("UPDATE tickets SET hash = $1").bind(Sha256::digest(ticket).to_vec());
    assert_eq!(plant.execute(&w.database().await).await.unwrap().rows_affected(), 1);
}

async fn forgot(w: &World, email: &str) {
    w.post("/v1/auth/forgot-password", &json!({"email": email})).expect(202, "").await;
}

both! {
    async fn who_writes_to_the_database_sets_nobodys_password(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let reset = |ticket: &str| w.post("/v1/auth/reset-password", &json!({"token": ticket, "new_password": NEW}));
        let id = ada.id().await;
        // A ticket without the signer's word is none.
        let insert = sqlx::query("INSERT INTO tickets (purpose, subject, hash, expires_at) VALUES ('reset_password', $1, $2, $3)");
        let insert = insert.bind(id.clone()).bind(Sha256::digest("planted").to_vec()).bind(i64::MAX);
        insert.execute(&w.database().await).await.unwrap();
        reset("planted").expect(400, "used up").await;
        w.sql("DELETE FROM tickets").await;
        // Nor is one of somebody else's, nor a genuine one with another ticket.
        forgot(&w, &eve.email).await;
        let eves = w.ticket(&eve.email, "A new password").await;
        w.sql(&format!("UPDATE tickets SET subject = '{id}'")).await;
        reset(&eves).expect(403, "an operator must look").await;
        w.sql("DELETE FROM tickets").await;
        forgot(&w, &ada.email).await;
        let adas = w.ticket(&ada.email, "A new password").await;
        plant(&w, "planted").await;
        reset("planted").expect(403, "an operator must look").await;
        reset(&adas).expect(400, "used up").await;
        // A link into the account goes nowhere but where its person signed up with.
        w.sql("DELETE FROM limits").await;
        w.sql("UPDATE users SET email = 'mallory@example.org' WHERE email = 'ada@example.org'").await;
        forgot(&w, "mallory@example.org").await;
        let told = refusals(&ada, 1).await;
        assert_eq!((&told[0]["details"]["rule"], &told[0]["resource_type"]), (&json!("tampered"), &json!("mail")));
        assert!(!w.has_mail("mallory@example.org", "A new password"));
        w.sql("UPDATE users SET email = 'ada@example.org' WHERE email = 'mallory@example.org'").await;
        w.post("/v1/auth/token", &json!({"email": ada.email, "password": PASSWORD})).expect(200, "").await;
    }
}

both! {
    async fn who_writes_to_the_database_takes_up_nobodys_invitation(w: World) {
        let ada = w.owner("ada").await;
        ada.post("/v1/org/invite", &json!({"email": "bob@example.org", "role": "admin"})).expect(200, "").await;
        let genuine = w.ticket("bob@example.org", "You are invited").await;
        plant(&w, "planted").await;
        let sign_up = |ticket: &str| {
            w.post("/v1/auth/signup", &json!({"email": "bob@example.org", "password": PASSWORD, "invitation": ticket}))
        };
        sign_up("planted").expect(403, "an operator must look").await;
        // Whoever has an account gives it the address that was invited.
        let eve = w.owner("eve").await;
        plant(&w, &genuine).await;
        w.sql("UPDATE users SET email = 'bob@example.org' WHERE email = 'eve@example.org'").await;
        eve.post("/v1/org/join", &json!({"invitation": genuine})).expect(403, "an operator must look").await;
        w.sql("UPDATE users SET email = 'eve@example.org' WHERE email = 'bob@example.org'").await;
        sign_up(&genuine).expect(200, "access_token").await;
    }
}

both! {
    async fn who_writes_to_the_database_gets_no_enrolled_agents_key(w: World) {
        let ada = w.owner("ada").await;
        w.post("/v1/agents/enroll", &json!({"name": "bot", "human_email": ada.email})).expect(201, "").await;
        let genuine = w.ticket(&ada.email, "An agent asks for its key").await;
        plant(&w, "planted").await;
        let fetch = |ticket: &str| w.post("/v1/agents/enroll/credentials", &json!({"token": ticket}));
        fetch("planted").expect(403, "an operator must look").await;
        plant(&w, &genuine).await;
        fetch(&genuine).expect(200, "ocv_").await;
    }
}

both! {
    /// The link that an operator hands over is not the one that anybody asks for.
    async fn a_recovered_account_is_not_shut_again_by_a_stranger(w: World) {
        let ada = w.owner("ada").await;
        let done = crate::accounts::recover(&w, &[&ada.email]);
        let said = String::from_utf8(done.stdout).unwrap();
        let recovered = said.trim().split_once('#').unwrap_or_else(|| panic!("{said}")).1;
        forgot(&w, &ada.email).await;
        let mailed = w.ticket(&ada.email, "A new password").await;
        let reset = |ticket: &str| w.post("/v1/auth/reset-password", &json!({"token": ticket, "new_password": NEW}));
        reset(recovered).expect(204, "").await;
        // And it ends what was mailed before.
        reset(&mailed).expect(400, "used up").await;
    }
}
