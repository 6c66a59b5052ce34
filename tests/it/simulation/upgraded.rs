//! What a script does with an upgraded connection.

use std::sync::Arc;

use micro_smol::Upgraded;
use micro_smol::smol::channel;
use micro_smol::smol::io::{AsyncReadExt, AsyncWriteExt};

use super::wire;
use super::world::{Wait, World};

/// Echoes so many bytes, then writes so many.
pub async fn serve_upgraded(
    world: Arc<World>,
    mut io: Upgraded,
    index: usize,
    echo: usize,
    write: usize,
    _done: channel::Sender<()>,
) {
    let guard = UpgradeGuard::begin(&world);
    let (mut left, mut room) = (echo, [0; 700]);
    let _waiting = world.wait(index, Wait::Upgraded);
    while left > 0 {
        let end = left.min(room.len());
        let Ok(count @ 1..) = io.read(&mut room[..end]).await else { break };
        world.lock().upgraded.read.extend_from_slice(&room[..count]);
        left -= count;
        if guard.write(&mut io, &room[..count]).await.is_err() {
            return;
        }
    }
    let _ = guard.write(&mut io, wire::made(index, write)).await;
}

/// Notes that an upgraded connection is served.
struct UpgradeGuard(Arc<World>);

impl UpgradeGuard {
    fn begin(world: &Arc<World>) -> Self {
        let upgraded = &mut world.lock().upgraded;
        (upgraded.has_begun, upgraded.is_live) = (true, true);
        UpgradeGuard(world.clone())
    }

    async fn write(&self, io: &mut Upgraded, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().upgraded.written.extend_from_slice(bytes);
        io.write_all(bytes).await?;
        io.flush().await
    }
}

impl Drop for UpgradeGuard {
    fn drop(&mut self) {
        self.0.lock().upgraded.is_live = false;
    }
}
