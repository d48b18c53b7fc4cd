//! Prints the pods of this Kubernetes node with their live containers. The argument is the socket of the
//! node's CRI runtime; the default is containerd's.
#![allow(clippy::print_stdout, reason = "the example prints")]

use whalewatcher::cri;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut runtime = cri::Client::builder();
    if let Some(socket) = std::env::args().nth(1) {
        runtime = runtime.endpoint(socket);
    }
    let node = whalewatcher::watch(runtime.build()?);
    node.ready().await?;
    let pods = node.portfolio().pods();
    for pod in &pods {
        println!("{} ({})", pod.identity(), pod.uid());
        for container in pod.containers() {
            println!("  {container}");
        }
        if let Some(sandbox) = pod.sandbox() {
            println!("  sandbox with PID {}", sandbox.pid());
        }
    }
    println!("{} pods", pods.len());
    node.close().await;
    Ok(())
}
