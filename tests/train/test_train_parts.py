"""The pieces of the training, each against an independent statement of what it should do."""

from __future__ import annotations

import itertools
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from support.train_fakes import FakeSource, host_inputs

from qformers.config.sections import PhaseConfig
from qformers.errors import TrainingError
from qformers.train import beta, feed, optimisers, pareto, stop
from qformers.train.loop import LoopState, Trainer
from qformers.train.ranger import Ranger
from qformers.train.schedule import learning_rate


def rates(**settings: object) -> list[float]:
    """Learning rates of the first step of each epoch, 10 steps per epoch."""
    phase = PhaseConfig.model_validate({"learning_rate": 1.0, **settings})
    return [learning_rate(phase, epoch * 10, 10) for epoch in range(phase.epochs)]


def test_flat_decay_is_the_published_schedule():
    """50 epochs: full rate for 35, then one factor 0.01^(1/15) at the start of each of the last 15."""
    expected = [1.0] * 35 + [0.01 ** (k / 15) for k in range(1, 16)]
    assert rates(schedule="flat_decay", epochs=50) == pytest.approx(expected)


def test_cosine_goes_from_the_full_to_the_final_rate_after_the_warm_up():
    phase = PhaseConfig(schedule="cosine", epochs=10, warmup_epochs=2, learning_rate=2.0, final_learning_rate=0.1)
    values = [learning_rate(phase, step, 10) for step in range(100)]
    assert values[:20] == pytest.approx([2.0 * (k + 1) / 20 for k in range(20)])
    assert values[20] == pytest.approx(2.0)
    assert values[-1] == pytest.approx(0.2)
    middle = 20 + (99 - 20) / 2
    assert learning_rate(phase, int(middle), 10) == pytest.approx(0.5 * (2.0 + 0.2), rel=0.02)
    assert all(a > b for a, b in itertools.pairwise(values[20:]))


def test_constant_stays():
    assert rates(schedule="constant", epochs=3) == [1.0, 1.0, 1.0]


def ranger_by_hand(start: np.ndarray, gradients: list[np.ndarray], rate: float, decay: float) -> np.ndarray:
    """RAdam (arXiv:1908.03265, with weaver-core's constants and plain momentum below 5) in Lookahead, loop by loop."""
    fast, slow = start.astype(np.float64), start.astype(np.float64)
    first, second = np.zeros_like(fast), np.zeros_like(fast)
    b1, b2, epsilon = 0.95, 0.999, 1e-5
    for step, gradient in enumerate(gradients, start=1):
        second = b2 * second + (1 - b2) * gradient * gradient
        first = b1 * first + (1 - b1) * gradient
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * step * b2**step / (1 - b2**step)
        fast = fast - decay * rate * fast
        if length >= 5:
            rectified = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
            size = math.sqrt((1 - b2**step) * rectified) / (1 - b1**step)
            fast = fast - rate * size * first / (np.sqrt(second) + epsilon)
        else:
            fast = fast - rate / (1 - b1**step) * first
        if step % 6 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow.copy()
    return fast


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_ranger_is_radam_in_lookahead(decay: float):
    rng = np.random.default_rng(3)
    start = rng.normal(size=(4, 3))
    gradients = [rng.normal(size=(4, 3)) for _ in range(40)]
    variable = keras.Variable(start.astype(np.float32), name="kernel")
    optimiser = Ranger(learning_rate=0.05, weight_decay=decay or None)
    optimiser.build([variable])
    for gradient in gradients:
        optimiser.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))])
    expected = ranger_by_hand(start, gradients, 0.05, decay)
    assert np.abs(expected - start).max() > 0.05  # it has moved, so that the next line means something
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=0, atol=2e-5)


def test_ranger_comes_back_from_its_configuration():
    again = Ranger.from_config(Ranger(learning_rate=0.3, sync_period=4, slow_step=0.2).get_config())
    assert (float(again.learning_rate), again.sync_period, again.slow_step) == (pytest.approx(0.3), 4, 0.2)


class Named:
    """As much of a Keras variable as the choice of decayed ones looks at."""

    def __init__(self, path: str, shape: tuple[int, ...]) -> None:
        self.path, self.name, self.shape = path, path.split("/")[-1], shape


def test_weight_decay_spares_everything_but_kernels():
    decayed = Named("b0_attn_q/kernel", (8, 2, 4))
    spared = [
        Named("b0_attn_q/bias", (2, 4)),
        Named("cls_token/token", (1, 1, 8)),
        Named("b0_ffn_resid/factor", (8,)),
        Named("embed0/embed0_kq/fixed_point_quantizer_kbi/b", (3, 8)),
    ]
    assert optimisers.undecayed([decayed, *spared]) == spared


@pytest.mark.parametrize("name", ["adam", "adamw", "ranger"])
def test_width_travel_is_the_way_a_width_can_go(name: str):
    """Pushed one way all the time, a width covers `width_travel` bits under Adam; a weight goes the plain way."""
    phase = PhaseConfig.model_validate(
        {"epochs": 10, "optimiser": name, "learning_rate": 1e-3, "schedule": "constant", "width_travel": 8.0}
    )
    with keras.name_scope("fixed_point_quantizer_kbi"):
        width = keras.Variable(np.full(2, 9.0, np.float32), name="b")
    weight = keras.Variable(np.full(2, 9.0, np.float32), name="other")
    assert optimisers.is_width(width)
    assert not optimisers.is_width(weight)
    optimiser = optimisers.make_optimiser(phase, [width, weight], steps_per_epoch=10)
    for _ in range(100):
        optimiser.apply([keras.ops.ones(2), keras.ops.ones(2)])
    way = 9.0 - keras.ops.convert_to_numpy(width)[0]
    plain = 9.0 - keras.ops.convert_to_numpy(weight)[0]
    assert way / plain == pytest.approx(80.0, rel=1e-2)
    if name != "ranger":  # which starts slowly
        assert way == pytest.approx(8.0, rel=0.01)


def test_controller_reaches_its_target_on_a_lagging_plant():
    """Widths that fall with a delay and never faster than an optimiser allows; the price of bits must not run away."""
    for limit, gain in ((4.0, 1.0), (20.0, 1.0), (20.0, 5.0)):
        control = beta.BetaController(target=60e3, beta=1e-8, start=0.05)
        ebops, speed, inside = 320e3, 0.0, []
        for step in range(1, 401):
            share = step / 400
            price = control.update(ebops, share)
            wanted = -gain * math.log(price * ebops / 1e-2) if price * ebops > 0 else 0.0  # balance at 0.01 nats
            speed += 0.2 * (min(limit, max(-limit, wanted)) - speed)
            ebops = min(400e3, ebops * math.exp(speed / 400))
            if share > 0.85:
                inside.append(ebops / 60e3)
        assert min(inside) > 0.85, (limit, gain)
        assert max(inside) < 1.1, (limit, gain)
        assert np.mean(np.array(inside) <= 1.0) > 0.5, (limit, gain)


def test_controller_state_goes_through_json_without_a_change():
    import json

    control = beta.BetaController(target=1e4, beta=1e-8)
    for step in range(1, 8):
        control.update(1e5 / step, step / 10)
    again = beta.BetaController.from_state(json.loads(json.dumps(control.state())))
    assert again == control
    assert again.update(1.5e4, 0.8) == control.update(1.5e4, 0.8)


def test_controller_waits_for_its_start_and_lets_a_small_model_grow_up_to_the_target():
    control = beta.BetaController(target=1e4, beta=1e-8, start=0.5)
    assert control.update(1e6, 0.4) == 1e-8
    small = beta.BetaController(target=1e4, beta=1e-8)
    prices = [small.update(5e3, step / 10) for step in range(1, 11)]
    assert max(prices) <= 1e-8
    assert small.path(1.0) == 0.95e4


def test_a_warm_up_as_long_as_the_training_leaves_the_price_alone_until_its_last_step():
    control = beta.BetaController(target=1e4, beta=1e-8, start=1.0)
    assert control.update(1e6, 0.9) == 1e-8
    assert control.update(1e6, 1.0) > 1e-8
    assert control.path(1.0) == pytest.approx(0.95e4)


def test_path_needs_a_first_update():
    with pytest.raises(ValueError, match="begins with the first update"):
        beta.BetaController(target=1.0, beta=1.0).path(0.5)


def test_front_keeps_what_nothing_beats():
    points = [pareto.Point(1, 0.5, 100), pareto.Point(2, 0.6, 90), pareto.Point(3, 0.7, 200), pareto.Point(4, 0.6, 90)]
    assert [point.epoch for point in pareto.front(points)] == [2, 3]  # 2 beats 1; 4 equals 2 and came later
    assert pareto.choose(points, 150) == points[1]
    assert pareto.choose(points, None) == points[2]
    assert pareto.choose(points, 50) is None


def order(batches: object) -> np.ndarray:
    """First feature of the first particle of all jets: tells the jets apart."""
    return np.concatenate([batch.inputs["features"][:, 0, 0] for batch in batches])  # type: ignore[attr-defined]


def make_feed(memory_bytes: int) -> feed.Feed:
    """The fake jets, in memory or streamed."""
    return feed.Feed(FakeSource(100), lambda events: host_inputs(None, events), 24, memory_bytes)


@pytest.mark.parametrize("memory_bytes", [1 << 20, 0])
def test_order_is_a_function_of_seed_and_epoch_and_can_start_anywhere(memory_bytes: int):
    jets = make_feed(memory_bytes)
    assert jets.in_memory == bool(memory_bytes)
    whole = order(jets.epoch(16, seed=1, epoch=2))
    assert len(whole) == 96  # full batches only
    np.testing.assert_array_equal(whole, order(make_feed(memory_bytes).epoch(16, seed=1, epoch=2)))
    np.testing.assert_array_equal(whole[48:], order(jets.epoch(16, seed=1, epoch=2, start=3)))
    assert not np.array_equal(whole, order(jets.epoch(16, seed=1, epoch=3)))
    assert not np.array_equal(whole, order(jets.epoch(16, seed=2, epoch=2)))
    everything = order(jets.in_order(16))
    assert len(everything) == 100
    assert set(whole) < set(everything)


def test_batches_gathered_on_the_device_are_those_of_the_host_bit_for_bit():
    """Here the device is the processor; on an accelerator the same operation gathers."""
    host, device, streamed = (
        feed.Feed(FakeSource(100), lambda events: host_inputs(None, events), 24, memory, resident)
        for memory, resident in ((1 << 20, False), (1 << 20, True), (0, True))
    )
    assert [one.on_device for one in (host, device, streamed)] == [False, True, False]
    for epoch, start in ((0, 0), (1, 2)):
        pairs = list(zip(host.epoch(16, 1, epoch, start), device.epoch(16, 1, epoch, start), strict=True))
        assert len(pairs) == 6 - start
        for one, other in pairs:
            assert not isinstance(other.inputs["features"], np.ndarray)
            np.testing.assert_array_equal(one.inputs["features"], other.on_host()["features"])
            np.testing.assert_array_equal(one.labels, other.labels)
            assert (one.broken, other.broken) == ((), ())
            part = other.part(4, 4)
            np.testing.assert_array_equal(part.on_host()["features"], one.inputs["features"][4:8])
    assert isinstance(device.sample(10, 1)["features"], np.ndarray)


def test_a_broken_event_on_the_device_is_known_without_a_look():
    jets = feed.Feed(FakeSource(64, nan_at=5), lambda events: host_inputs(None, events), 24, 1 << 20, True)
    broken = [batch.broken for batch in jets.epoch(16, 1, 0)]
    assert sorted(broken) == [(), (), (), ("features",)]


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(TrainingError, match=r"at least one full batch: .* Received: batch_size=128, events=100"):
        make_feed(0).steps(128)
    with pytest.raises(TrainingError, match=r"Received: batch_size=64, events=50"):
        make_feed(0).steps(64, jets_per_epoch=50)
    assert make_feed(0).steps(16, jets_per_epoch=50) == 3


def test_an_error_in_the_thread_reaches_the_reader():
    def broken(events: object) -> dict[str, np.ndarray]:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        next(feed.Feed(FakeSource(100), broken, 24, 0).epoch(16, 0, 0))


def test_a_stop_asked_for_while_the_last_epoch_is_closed_is_not_lost(tmp_path: Path):
    class Closing(Trainer):
        def __init__(self):
            self.state = LoopState()
            self.phase = SimpleNamespace(config=SimpleNamespace(epochs=2))

        def _epoch(self, stop, display):
            return stop.reason

        def _close_epoch(self, display):
            self.state.epoch += 1
            if self.state.epoch == 2:
                (tmp_path / "STOP").touch()

    with stop.stop_requests(tmp_path) as request:
        assert Closing().run(request, None) == f"{tmp_path / 'STOP'} exists"
    stop.forget_stop(tmp_path)
    with stop.stop_requests(tmp_path) as request:
        finished = Closing()
        finished.state.epoch = 2
        assert finished.run(request, None) == ""


def test_stop_file_and_signals(tmp_path: Path):
    (tmp_path / "STOP").touch()  # left from the last time
    stop.forget_stop(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with stop.stop_requests(tmp_path) as request:
        assert request.reason == ""
        (tmp_path / "STOP").touch()
        assert request.reason == f"{tmp_path / 'STOP'} exists"
        (tmp_path / "STOP").unlink()
        os.kill(os.getpid(), signal.SIGINT)
        assert request.reason == "SIGINT received"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
