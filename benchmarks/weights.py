"""Stored size of real training weights: a transformer decoder trained here and now, in fp32 and bf16.

It learns to write Python from the sources of the standard library: 10.9 million parameters, AdamW, 200 steps. Each file
is saved to a project of its own, and what counts is how much the packs on the vault's disk grew.
"""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from figures import report
from stage import Stage, age

WIDTH, LAYERS, HEADS = 384, 6, 6
CONTEXT, BATCH, STEPS = 64, 4, 200
TARGETS = {"bf16": 0.70, "fp32": 0.86}

SAVE = """
import holdfast
run = holdfast.init(project=sys.argv[1])
[saved] = holdfast.save(sys.argv[2], policy="now")
saved.wait(60)
tell(version=saved.version)
"""


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        split = (batch, time, HEADS, WIDTH // HEADS)
        query, key, value = (
            part.view(split).transpose(1, 2) for part in self.attend(self.first(x)).chunk(3, -1)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(batch, time, WIDTH))
        return x + self.narrow(functional.gelu(self.widen(self.second(x))))


class Decoder(nn.Module):
    """A small GPT over bytes, initialised as GPT-2 is."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        return self.head(self.last(self.blocks(self.symbols(text) + self.places.weight)))


def trained() -> dict[str, Tensor]:
    """Return the weights after training, in fp32."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads that spin for each other crawl on a machine that is busy
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = torch.frombuffer(bytearray(b"".join(path.read_bytes() for path in sources)), dtype=torch.uint8)
    model = Decoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        batch = torch.stack([text[start : start + CONTEXT + 1] for start in starts]).long()
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 3, "The model did not learn."
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def files_of(weights: dict[str, Tensor], folder: Path) -> list[tuple[str, Path]]:
    found = []
    for dtype, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        tensors = {name: value.to(kind) for name, value in weights.items()}
        safe, zipped = folder / f"{dtype}.safetensors", folder / f"{dtype}.pt"
        save_file(tensors, safe)
        torch.save(tensors, zipped)
        found += [(dtype, safe), (dtype, zipped)]
    return found


def zstd_share(path: Path) -> float:
    done = subprocess.run(["zstd", "-1", "--stdout", str(path)], capture_output=True, check=True)
    return len(done.stdout) / path.stat().st_size


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(stage: Stage) -> None:
    stage.server()
    blobs = stage.data / "blobs"
    for dtype, path in files_of(trained(), stage.cwd):
        age(path)
        before = size_of(blobs)
        assert stage.train(SAVE, path.name.replace(".", "-"), path)["version"] == 1
        stage.end_syncers()
        report(
            f"stored size of {dtype} weights, {path.suffix}",
            (size_of(blobs) - before) / path.stat().st_size,
            "of raw",
            beside="zstd -1 of the file",
            peer=zstd_share(path),
            at_most=TARGETS[dtype],
        )


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
