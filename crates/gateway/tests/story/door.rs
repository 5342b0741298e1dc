//! Where messages and calls come in, and somebody who signs what is sent there.

use gateway::Parts;
use serde_json::Value;

use crate::world::World;

#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) secret: String,
    pub(crate) http: reqwest::Client,
}

impl Door {
    /// `place` is what comes after `/hooks/`.
    pub(crate) async fn open(parts: Parts, place: &str, secret: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/{place}", listener.local_addr().unwrap());
        let router = gateway::router(parts);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, secret, http: reqwest::Client::new() }
    }

    pub(crate) async fn post(&self, world: &World, id: &str, body: &str) -> (u16, Value) {
        self.post_at(world.store.sources().now().timestamp(), id, body).await
    }

    /// Signed as at another time.
    pub(crate) async fn post_at(&self, at: i64, id: &str, body: &str) -> (u16, Value) {
        let signature = standardwebhooks::Webhook::new(&self.secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
        self.post_signed(id, at, &signature, body).await
    }

    pub(crate) async fn post_signed(&self, id: &str, at: i64, signature: &str, body: &str) -> (u16, Value) {
        let request = self.http.post(&self.url).header("webhook-id", id).header("webhook-timestamp", at);
        let response = request.header("webhook-signature", signature).body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }
}
