//! Random faults never break the proxy itself.

use whalewatcher_testkit::{
    docker::Server,
    proxy::{Fault, Proxy, RandomFaults},
};

use crate::peers::{Client, in_time};

#[tokio::test]
async fn after_any_number_of_random_faults_a_healed_proxy_works() {
    let server = Server::builder().start().unwrap();
    let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
    let mut faults = RandomFaults::new(7);
    let mut clients = Vec::new();
    for round in 0..300 {
        let fault: Fault = faults.next_fault().to_string().parse().unwrap();
        proxy.inject(fault).unwrap();
        if let Ok(client) = Client::try_to(&proxy).await {
            clients.push(client);
        }
        for client in clients.iter_mut().rev().take(3) {
            // A connection that is cut already cannot be written to.
            let _ = client.try_ask(if round % 2 == 0 { "GET /events" } else { "GET /containers/json" }).await;
        }
        server.run(format!("c{round}").as_str()).unwrap();
        if round % 10 == 9 {
            proxy.heal().unwrap();
            let mut client = Client::to(&proxy).await;
            assert_eq!(client.get("/_ping").await.unwrap().body, "OK", "in round {round}");
        }
    }
    drop(clients);
    proxy.heal().unwrap();
    in_time(proxy.until_open(0)).await;
    assert_eq!(proxy.stats().stalled, 0);
}
