//! Measures the time of each operation: `cargo bench -p ggrok-micro --bench time`.

use criterion::{Criterion, Throughput};

mod operations;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, operations) in operations::groups() {
        let mut group = criterion.benchmark_group(name);
        for mut operation in operations {
            if operation.times > 1 {
                group.throughput(Throughput::Elements(operation.times));
            }
            group.bench_function(operation.name, |bencher| bencher.iter(&mut operation.run));
        }
        group.finish();
    }
    criterion.final_summary();
}
