---
[dependencies]
juniper = { version = "0.18", default-features = false }
---
//! GraphQL: the content of a request is the query. `micro-smol examples/single/graphql.rs`; then
//! `curl localhost:3000 -d '{ "query": "{ greeting(name: \"Ann\") }" }'`.

use juniper::{EmptyMutation, EmptySubscription, RootNode, http::GraphQLRequest};
use micro_smol::{Json, Request, Response, Result, json, send};

struct Query;

#[juniper::graphql_object]
impl Query {
    fn greeting(name: String) -> String {
        format!("Hello, {name}")
    }
}

pub async fn handler(req: Request) -> Result<Response> {
    let request: GraphQLRequest = json(&req).await?;
    let schema = RootNode::new(Query, EmptyMutation::new(), EmptySubscription::<()>::new());
    let response = request.execute(&schema, &()).await;
    send(if response.is_ok() { 200 } else { 400 }, Json(response))
}
