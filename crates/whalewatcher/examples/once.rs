//! Prints the live containers of the engine that the environment names, by project.
#![allow(clippy::print_stdout, reason = "the example prints")]

use whalewatcher::moby;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let docker = whalewatcher::watch(moby::Client::from_env()?);
    docker.ready().await?;
    let portfolio = docker.portfolio();
    for project in portfolio.projects().filter(|project| !project.is_empty()) {
        println!("{}", if project.name().is_empty() { "without a project" } else { project.name() });
        for container in project.containers() {
            println!("  {container}");
        }
    }
    println!("{} alive", portfolio.total());
    docker.close().await;
    Ok(())
}
