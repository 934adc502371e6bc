//! Arbitrary requests, as `Server` carries them out on model and views: nothing panics, refusals name something, dumps
//! end, and every answer fits a frame.

use api::{Page, Reply, Request, VifInfo};
use tables::{Epoch, Owner, VifId};

use super::{Publisher, View, VifFacts, refusal, refusal_by_hand, refuse_absent};

/// There are no devices.
struct Nowhere;

impl VifFacts for Nowhere {
    fn complete(&self, _: &mut VifInfo, _: Option<api::Core>) {}

    fn by_os_index(&self, os_index: u32) -> Option<VifId> {
        u16::try_from(os_index).ok().map(VifId)
    }

    fn counters(&self) -> Option<&engine::CounterReader> {
        None
    }
}

#[test]
fn requests() {
    bolero::check!().with_iterations(2000).for_each(|bytes: &[u8]| {
        let mut dice = fuzz::Dice::new(bytes);
        let mut publisher = Publisher::new();
        for epoch in 0..64 {
            if dice.is_empty() {
                break;
            }
            if let Some(request) = dice.roll::<Request>() {
                carry_out(&mut publisher, request, Epoch(epoch));
            }
        }
    });
}

fn carry_out(publisher: &mut Publisher<()>, request: Request, epoch: Epoch) {
    match request {
        Request::Apply(transaction) => {
            if let Err(error) = publisher.apply(&transaction.ops, Owner::Agent) {
                assert!(!refusal(&error).to_string().is_empty());
            }
        }
        Request::Operate(transaction) => {
            if refuse_absent(publisher.model(), &transaction.ops).is_ok()
                && let Err(error) = publisher.apply(&transaction.ops, Owner::Operator)
            {
                assert!(!refusal_by_hand(&error).to_string().is_empty());
            }
        }
        Request::BeginEpoch => publisher.set_epoch(Owner::Agent, epoch),
        Request::Sweep { epoch } => {
            assert!(publisher.sweep(Owner::Agent, |kept| kept == epoch).is_ok());
        }
        Request::Barrier => {
            publisher.publish();
            publisher.wait(());
            assert!(!publisher.reached().is_empty(), "nobody reads: all are there");
        }
        Request::Dump { table, mut after } => {
            // A place that a client made up leads anywhere, but on from there each page ends behind the one before.
            for _ in 0..64 {
                let page = view(publisher).page(table, after);
                after = answerable(page);
                if after.is_none() {
                    return;
                }
            }
            panic!("a dump of a few objects takes more than 64 pages");
        }
        Request::Get(lookup) => {
            if let Ok(page) = view(publisher).get(lookup) {
                answerable(page);
            }
        }
        Request::RouteChanges { after } => {
            publisher.route_changes(after);
        }
        _ => {}
    }
}

fn view(publisher: &mut Publisher<()>) -> View<'_, Nowhere> {
    publisher.publish();
    View { model: publisher.model(), fib: publisher.fib(), facts: Nowhere }
}

/// Sends it, and says where it goes on.
fn answerable(page: Page) -> Option<api::Cursor> {
    let next = page.next;
    let mut frame = Vec::new();
    api::encode(&Reply::Page(page), &mut frame).expect("a page fits a frame");
    next
}
