//! The proxy itself: what it is told to do is what a client sees.

use std::time::Duration;

use crate::support::clickhouse::Database;
use crate::support::proxy::{Fault, Proxy};
use crate::support::servers::Server;

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let server = Server::shared("clickhouse");
    let proxy = Proxy::start(server.running().port);
    let there = Database::fresh();
    there.query("CREATE DATABASE {db}");
    let through = Database { url: format!("http://127.0.0.1:{}/", proxy.port), name: there.name.clone() };
    let create = |table: &str| through.try_query(&format!("CREATE TABLE {{db}}.{table} (x UInt8) ENGINE = Log"));
    let exists = |table: &str| there.query(&format!("EXISTS {{db}}.{table} FORMAT TSV")) == "1\n";
    assert_eq!(through.query("SELECT number FROM numbers(100000) FORMAT TSV").lines().count(), 100_000);

    for (name, fault, done) in [
        ("refused", Fault::Refuse, false),
        ("reset", Fault::Reset, true),
        ("half", Fault::Half, true),
        ("garbage", Fault::garbage(), false),
        ("unavailable", Fault::status(503), false),
    ] {
        proxy.set(fault);
        assert!(create(name).is_err(), "{name}");
        proxy.wait_for_faults(1);
        proxy.set(Fault::Pass);
        assert_eq!(exists(name), done, "{name}");
        assert!(create(&format!("{name}_after")).is_ok(), "{name}");
    }
    for (name, fault, done) in [("hangs", Fault::Hang, false), ("swallowed", Fault::Swallow, true)] {
        proxy.set(fault);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| create(name));
            proxy.wait_for_faults(1);
            while exists(name) != done {}
            assert!(!waiting.is_finished());
            proxy.set(Fault::Refuse);
            assert!(waiting.join().unwrap().is_err());
        });
    }
    proxy.set(Fault::Slow(Duration::from_millis(1)));
    assert!(create("slow").is_ok());
    proxy.set_by(|request| if request.says("TABLE") { Fault::status(429) } else { Fault::Pass });
    assert!(create("chosen").unwrap_err().contains("not the page"));
    assert_eq!(through.query("SELECT 1 FORMAT TSV"), "1\n");
}
