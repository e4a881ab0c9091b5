//! An operator that deletes all annotations for ever.

use std::time::{Duration, Instant};

use e2e::{
    Operator, OurWrites, Targets,
    testing::{change_leader, delete_events, installed, wait_for_condition},
};

use crate::{
    failover::{local_service::owner_goes_and_comes_back, reboot::reboot_all},
    field::announced::Announced,
};

/// The most writes of our programs to a Service in a minute: two of the allocator, and one of each family's owner.
const MOST: usize = 4;

/// A minute, and what a slow machine adds.
const OBSERVED: Duration = Duration::from_secs(65);

#[tokio::test(flavor = "multi_thread")]
async fn case_66_an_operator_deletes_all_annotations_for_ever() {
    let cluster = installed().await;
    for name in ["stripped", "stripped-remote"] {
        delete_events(&cluster, "default", name);
    }
    let announced = Announced::new(&cluster, "stripped-remote", "stripped").await;
    let client = cluster.kube().await.unwrap();
    let writes = OurWrites::count(client.clone(), "default");
    let begin = Instant::now();
    let operator = Operator::deletes_annotations(Targets::new(client, "default", announced.names()));
    for name in announced.names() {
        wait_for_condition(&cluster, &["service", name], "purelb.io/Overwritten", "annotation-keeper").await;
    }
    change_leader(&cluster).await;
    tokio::time::sleep(OBSERVED.saturating_sub(begin.elapsed())).await;
    announced.assert_undisturbed();
    for name in announced.names() {
        let most = writes.most_in_a_minute(name);
        println!("{name}: {most:?}");
        assert!(most.len() <= MOST, "{name}: {} writes in a minute: {most:?}", most.len());
    }

    owner_goes_and_comes_back(&announced.local).await;
    reboot_all(&announced).await;
    println!("{operator:?} against {} of ours", writes.total());
    operator.end().await;
    announced.marked().await;
    announced.assert_kept().await;
}
