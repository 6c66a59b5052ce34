---
[dependencies]
async-tungstenite = { version = "0.35", default-features = false, features = ["handshake"] }
---
//! A chat room on WebSocket: each message goes to all. `micro-smol examples/single/chat.rs`; then open two tabs.

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use micro_smol::smol::{channel, channel::Sender, future::or, stream::StreamExt};
use micro_smol::{Request, Response, Result, Upgraded, send, upgrade};
use std::sync::Mutex;

static ROOM: Mutex<Vec<Sender<Message>>> = Mutex::new(Vec::new());

pub async fn handler(req: Request) -> Result<Response> {
    let Some(key) = req.header("sec-websocket-key") else {
        return Ok(send(200, include_str!("chat.html"))?.with_header("content-type", "text/html; charset=utf-8"));
    };
    let accept = derive_accept_key(key.as_bytes());
    Ok(upgrade(&req, "websocket", join).with_header("sec-websocket-accept", accept))
}

async fn join(io: Upgraded) {
    let config = WebSocketConfig::default().max_message_size(Some(4096));
    let (mut writer, mut reader) = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await.split();
    let (sender, receiver) = channel::bounded(64);
    ROOM.lock().unwrap().retain(|member| !member.is_closed());
    ROOM.lock().unwrap().push(sender);
    let write = async { while writer.send(receiver.recv().await.unwrap_or(Message::Close(None))).await.is_ok() {} };
    let read = async {
        while let Some(Ok(message)) = reader.next().await {
            if message.is_text() {
                // A member who has left, or reads too slowly, is removed.
                ROOM.lock().unwrap().retain(|member| member.try_send(message.clone()).is_ok());
            }
        }
    };
    or(write, read).await;
}
