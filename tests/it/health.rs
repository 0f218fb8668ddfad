//! Health, and what is open to everyone.

use harness::{both, json};

both! {
    async fn everything_is_up(w: World) {
        let health = w.get("/v1/health").expect(200, "healthy").await;
        assert!(health["version"].is_string());
        w.get("/v1/health/hsm").expect(200, r#""ok""#).await;
        let keys = w.get("/.well-known/jwks.json").expect(200, "Ed25519").await;
        assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    }
}

both! {
    async fn unknown_addresses_and_methods(w: World) {
        w.get("/v1/nothing").expect(404, "nothing at this address").await;
        w.post("/v1/health", &json!({})).expect(405, "method").await;
    }
}
