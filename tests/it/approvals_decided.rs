//! Approvals on their way to a decision: whose yes counts, and waiting for it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{both, json};

use crate::approvals::{approve, asked, guarded, member, step};

both! {
    async fn a_yes_counts_while_its_giver_may_decide(w: World) {
        let ada = w.owner("ada").await;
        let (bob, cleo, dan) =
            (member(&ada, "bob", "admin").await, member(&ada, "cleo", "admin").await, member(&ada, "dan", "admin").await);
        let (vault, bot) = guarded(&ada, r#"{"approvals": 2}"#).await;
        let at = vault.path("db/password");
        // Lowered to a member before the second yes comes.
        let id = asked(&bot, &at).await;
        assert_eq!(approve(&bob, &id).await["given"], 1);
        ada.patch(&format!("/v1/org/members/{}", bob.id().await), &json!({"role": "member"})).expect(200, "member").await;
        let half = approve(&cleo, &id).await;
        assert_eq!((&half["status"], &half["given"], &half["given_by"]), (&json!("pending"), &json!(1), &json!([cleo.id().await])));
        assert_eq!(asked(&bot, &at).await, id, "it waits still");
        // Cleo is gone before the next one: it takes two others.
        ada.delete(&format!("/v1/org/members/{}", cleo.id().await)).expect(204, "").await;
        assert_eq!(approve(&dan, &id).await["given_by"], json!([dan.id().await]));
        assert_eq!(approve(&ada, &id).await["status"], "approved");
        bot.get(&at).expect(200, "hunter-2").await;
        // Somebody who rises again in time has given theirs.
        let id = asked(&bot, &at).await;
        let dans = format!("/v1/org/members/{}", dan.id().await);
        approve(&dan, &id).await;
        ada.patch(&dans, &json!({"role": "member"})).expect(200, "member").await;
        ada.patch(&dans, &json!({"role": "admin"})).expect(200, "admin").await;
        assert_eq!(approve(&ada, &id).await["status"], "approved");
    }
}

both! {
    async fn a_request_waits_for_the_decision_at_any_gateway(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "true").await;
        let (at, beside) = (vault.path("db/password"), w.beside().await);
        let id = asked(&bot, &at).await;
        let here = format!("/v1/approvals/{id}?wait=25");
        let begun = Instant::now();
        let decides = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            approve(&ada, &id).await
        };
        let (here, there, _) = tokio::join!(bot.get(&here).reply(), beside.get(&here, &bot.token).reply(), decides);
        for reply in [here, there] {
            assert_eq!(reply.expect(200, "approved")["status"], "approved");
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // What is decided is answered at once, as is what is not there.
        let begun = Instant::now();
        bot.get(&format!("/v1/approvals/{id}?wait=28")).expect(200, "approved").await;
        ada.agent("other").make().await.get(&format!("/v1/approvals/{id}?wait=28")).expect(404, "No such approval").await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        for bad in ["31", "-1", "x"] {
            bot.get(&format!("/v1/approvals/{id}?wait={bad}")).expect(400, "wait").await;
        }
    }
}

both! {
    /// What is told of it and is no decision ends no waiting; the time does, and the request's own end.
    async fn who_waits_hears_a_decision_and_waits_no_longer_than_asked(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "true").await;
        let id = asked(&bot, &vault.path("db/password")).await;
        let begun = Instant::now();
        let behind = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            w.sql("UPDATE approvals SET summary = 'behind its back'").await
        };
        let path = format!("/v1/approvals/{id}?wait=3");
        let (seen, _) = tokio::join!(bot.get(&path).expect(200, "behind its back"), behind);
        assert!(seen["status"] == "pending" && begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
        // Its own end ends the waiting.
        let soon = domain::Clock::default().now().plus(Duration::from_millis(1500)).millis();
        w.sql(&format!("UPDATE approvals SET expires_at = {soon}, runs_out_at = {soon}")).await;
        let begun = Instant::now();
        bot.get(&format!("/v1/approvals/{id}?wait=28")).expect(200, "expired").await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

both! {
    async fn waiting_is_bounded_and_ends_with_what_let_one_in(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "true").await;
        let id = asked(&bot, &vault.path("db/password")).await;
        let path = format!("/v1/approvals/{id}?wait=12");
        let all = join_all((0..10).map(|_| bot.get(&path).reply())).await;
        let count = |status: u16| all.iter().filter(|reply| reply.status == status).count();
        assert_eq!((count(200), count(429)), (8, 2), "{:?}", all.iter().map(|r| &r.text).collect::<Vec<_>>());
        // Its places are free again.
        let waits = bot.get(&path).reply();
        let stops = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
            ada.post(&step(&id, "deny"), &json!({})).expect(200, "denied").await;
        };
        let (reply, ()) = tokio::join!(waits, stops);
        reply.expect(403, "suspended");
        ada.post("/v1/agents/resume-all", &json!({})).expect(200, "").await;
        // A gateway that ends answers first.
        let next = { vault.put("db/next", "generic", "v").await; asked(&bot, &vault.path("db/next")).await };
        let path = format!("/v1/approvals/{next}?wait=28");
        let begun = Instant::now();
        let ends = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::task::block_in_place(|| w.end())
        };
        let (reply, code) = tokio::join!(bot.get(&path).reply(), ends);
        reply.expect(200, "pending");
        assert!(code == Some(0) && begun.elapsed() < Duration::from_secs(20), "{code:?} {:?}", begun.elapsed());
    }
}

both! {
    async fn who_hangs_up_gives_their_place_to_the_next(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "true").await;
        let id = asked(&bot, &vault.path("db/password")).await;
        let soon = Duration::from_secs(1);
        let wait = |seconds: u8| format!("/v1/approvals/wait?approval_id={id}&timeout_seconds={seconds}");
        let (long, one, none) = (wait(25), format!("/v1/approvals/{id}?wait=28"), wait(0));
        let over_mcp = json!({"approval_id": id, "timeout_seconds": 25});
        for _ in 0..2 {
            let eight = async {
                let rest = join_all((0..3).flat_map(|_| [bot.get(&long).reply(), bot.get(&one).reply()]));
                tokio::join!(rest, bot.tool("wait_for_approval", &over_mcp), bot.tool("wait_for_approval", &over_mcp))
            };
            let full = async {
                tokio::time::sleep(soon).await;
                bot.get(&long).expect(429, "requests that wait").await;
                // What does not wait takes no place.
                bot.get(&none).expect(200, "pending").await;
                bot.get(&format!("/v1/approvals/{id}?wait=0")).expect(200, "pending").await;
            };
            tokio::select! {
                _ = eight => panic!("somebody has not waited"),
                () = full => {}
            }
            // All eight have hung up.
            tokio::time::sleep(soon).await;
            bot.get(&wait(1)).expect(200, "pending").await;
        }
    }
}
