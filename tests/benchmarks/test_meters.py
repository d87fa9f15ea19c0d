from benchmarks.meters import benchmark_meters
from tests.engine.fakes import fake_config


def test_both_sides_are_timed_and_the_run_folder_is_left_alone(tmp_path):
    found = benchmark_meters(fake_config(tmp_path / "run"), rounds=2, warm_up=1)
    assert set(found) == {"with", "without", "overhead", "meters", "share"}
    assert found["with"] > 0 and found["without"] > 0 and found["meters"] > 0
    assert not (tmp_path / "run").exists()
