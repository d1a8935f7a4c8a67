//! iceoryx2's publish-subscribe, written in place.
//!
//! One publisher and one subscriber, no history, no safe overflow, one node each. Nothing is lost because the publisher looks at
//! how much the subscriber has received, as our producer does, and never has more under way than the subscriber's buffer holds:
//! that was faster than iceoryx2's own blocking strategy, whose waiting ends in sleeps. One by one a sample is a message; a batch
//! is a sample of the slice interface with so many messages.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use iceoryx2::prelude::*;
use ringfort_bench::leftovers::{self, SHM_DIRECTORY};

use crate::message::{Expected, Message, message};
use crate::pace::{Pace, pause};

/// Messages that fit the subscriber's buffer.
pub const BUFFER_MESSAGES: u64 = 4096;

/// A service of a name that only this run uses.
pub struct PublishSubscribe {
    /// What its files' names begin with.
    prefix: String,
    per_sample: u64,
    /// Whether iceoryx2's own strategy holds the publisher back.
    blocking: bool,
}

type Slice = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [Message], ()>;
type Single = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Message, ()>;

impl PublishSubscribe {
    /// A service for samples of so many messages.
    pub fn new(per_sample: u64, blocking: bool) -> Self {
        Self { prefix: format!("{PREFIX}{}_", std::process::id()), per_sample, blocking }
    }

    fn buffer(&self) -> u64 {
        BUFFER_MESSAGES / self.per_sample
    }

    fn node(&self) -> Node<ipc::Service> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        config.global.prefix = FileName::new(self.prefix.as_bytes()).expect("a file name");
        let root = std::env::temp_dir().join(&self.prefix);
        config.global.set_root_path(&Path::new(root.as_os_str().as_encoded_bytes()).expect("a path"));
        config.global.node.cleanup_dead_nodes_on_creation = false;
        config.global.node.cleanup_dead_nodes_on_destruction = false;
        let node = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
        node.create::<ipc::Service>().expect("iceoryx2 makes a node")
    }

    fn slice(&self, node: &Node<ipc::Service>) -> Slice {
        let service = node.service_builder(&"messages".try_into().expect("a service name")).publish_subscribe::<[Message]>();
        let service = service.enable_safe_overflow(false).history_size(0).max_publishers(1).max_subscribers(1).max_nodes(2);
        let service = service.subscriber_max_buffer_size(self.buffer() as usize).subscriber_max_borrowed_samples(1);
        service.open_or_create().expect("iceoryx2 makes a service")
    }

    fn single(&self, node: &Node<ipc::Service>) -> Single {
        let service = node.service_builder(&"messages".try_into().expect("a service name")).publish_subscribe::<Message>();
        let service = service.enable_safe_overflow(false).history_size(0).max_publishers(1).max_subscribers(1).max_nodes(2);
        let service = service.subscriber_max_buffer_size(self.buffer() as usize).subscriber_max_borrowed_samples(1);
        service.open_or_create().expect("iceoryx2 makes a service")
    }

    fn strategy(&self) -> BackpressureStrategy {
        if self.blocking { BackpressureStrategy::RetryUntilDelivered } else { BackpressureStrategy::DiscardData }
    }

    /// Returns when the subscriber's buffer has room for another sample. Looks again only when its last look is used up.
    fn hold_back(&self, pace: &Pace, seen: &mut u64, sample: u64) {
        while !self.blocking && sample - *seen >= self.buffer() {
            *seen = pace.consumed.0.load(Ordering::Acquire);
        }
    }

    /// Publishes messages, a sample at a time.
    pub fn produce(&self, pace: &Pace, count: u64) {
        let node = self.node();
        let mut seen = 0;
        if self.per_sample == 1 {
            let service = self.single(&node);
            let publisher = service.publisher_builder().max_loaned_samples(1).backpressure_strategy(self.strategy());
            let publisher = publisher.create().expect("iceoryx2 makes a publisher");
            pace.start_producing();
            for n in 0..count {
                self.hold_back(pace, &mut seen, n);
                let sample = publisher.loan_uninit().expect("a free sample").write_payload(message(n));
                assert_eq!(sample.send().expect("iceoryx2 sends"), 1, "delivered");
            }
            wait_for_end(pace);
        } else {
            let service = self.slice(&node);
            let publisher = service.publisher_builder().max_loaned_samples(1).backpressure_strategy(self.strategy());
            let publisher = publisher.initial_max_slice_len(self.per_sample as usize);
            let publisher = publisher.create().expect("iceoryx2 makes a publisher");
            pace.start_producing();
            for (sample, first) in (0..count).step_by(self.per_sample as usize).enumerate() {
                self.hold_back(pace, &mut seen, sample as u64);
                let slice = publisher.loan_slice_uninit(self.per_sample as usize).expect("a free sample");
                let slice = slice.write_from_fn(|i| message(first + i as u64));
                assert_eq!(slice.send().expect("iceoryx2 sends"), 1, "delivered");
            }
            wait_for_end(pace);
        }
    }

    /// Receives messages until all are there.
    pub fn consume(&self, pace: &Pace, count: u64) {
        pace.wait_for_producer();
        let node = self.node();
        let mut expected = Expected::default();
        let mut samples = 0;
        let received = |samples: &mut u64| {
            *samples += 1;
            pace.consumed.0.store(*samples, Ordering::Release);
        };
        if self.per_sample == 1 {
            let service = self.single(&node);
            let subscriber = service.subscriber_builder().create().expect("iceoryx2 makes a subscriber");
            pace.start_consuming();
            while expected.count() < count {
                match subscriber.receive().expect("iceoryx2 receives") {
                    Some(sample) => expected.take(sample.payload()[0], sample.payload()[7]),
                    None => {
                        pause();
                        continue;
                    }
                }
                received(&mut samples);
            }
        } else {
            let service = self.slice(&node);
            let subscriber = service.subscriber_builder().create().expect("iceoryx2 makes a subscriber");
            pace.start_consuming();
            while expected.count() < count {
                match subscriber.receive().expect("iceoryx2 receives") {
                    Some(sample) => sample.payload().iter().for_each(|m| expected.take(m[0], m[7])),
                    None => {
                        pause();
                        continue;
                    }
                }
                received(&mut samples);
            }
        }
        pace.end();
    }
}

/// The publisher lives until the last sample has arrived, since its memory goes with it.
fn wait_for_end(pace: &Pace) {
    while !pace.has_ended() {
        std::thread::yield_now();
    }
}

/// Beginning of the names of all that iceoryx2 makes for a run; the id of the run's first process follows.
const PREFIX: &str = "ringfort_bench_";

/// Removes what killed processes of this run and of earlier ones left behind; one that ends in order leaves nothing.
pub fn clean_up() {
    for directory in [PathBuf::from(SHM_DIRECTORY), std::env::temp_dir()] {
        leftovers::remove(directory, PREFIX, true);
    }
}
