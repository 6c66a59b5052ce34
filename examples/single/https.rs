---
[dependencies]
futures-rustls = { version = "0.26", default-features = false, features = ["ring", "tls12"] }
rcgen = { version = "0.14", default-features = false, features = ["ring", "pem"] }
---
//! HTTPS without a proxy. Try it: `curl --cacert "${TMPDIR:-/tmp}/micro-smol.pem" -d hello https://localhost:3000`.

use futures_rustls::{TlsAcceptor, rustls::ServerConfig};
use micro_smol::smol::{LocalExecutor, Timer, block_on, future::or, net::TcpListener};
use micro_smol::{Limits, Request, Result, buffer, serve_connection};
use std::{env, error::Error, fs, io, sync::Arc, time::Duration};

pub async fn handler(req: Request) -> Result<Vec<u8>> {
    buffer(&req).limit("10mb").await
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(env::temp_dir().join("micro-smol.pem"), certified.cert.pem())?;
    let key = certified.signing_key.serialize_der().try_into()?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certified.cert.into()], key)?;
    let (acceptor, executor) = (TlsAcceptor::from(Arc::new(config)), LocalExecutor::new());
    block_on(executor.run(async {
        let listener = TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT").unwrap_or("3000".into()))).await?;
        println!("micro-smol: Accepting connections on https://localhost:{}", listener.local_addr()?.port());
        loop {
            let Ok((tcp, _)) = listener.accept().await else {
                Timer::after(Duration::from_millis(100)).await;
                continue;
            };
            let end = async {
                Timer::after(Duration::from_secs(10)).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            let task =
                async { serve_connection(or(acceptor.accept(tcp), end).await?, &handler, &Limits::default()).await };
            executor.spawn(task).detach();
        }
    }))
}
