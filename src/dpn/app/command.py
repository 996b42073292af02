"""`dpn app`: starts the page."""

import os
import socket
import webbrowser
from functools import partial
from pathlib import Path

from dpn.app.gate import LOOPBACK, Gate
from dpn.errors import InputError
from dpn.http.images import take_no_others
from dpn.model_files import DEFAULT_MODEL
from dpn.storage import load_stages

HOME = Path(__file__).parent

CONNECTIONS = 256
"""At one time; a browser has six."""

SESSIONS = 16
"""Photographs that are held at one time, each of a page that somebody looks at; the one that was idle longest is let go."""

WAITING = 32
"""Questions to each function that may wait."""


def app(
    *,
    model: str = DEFAULT_MODEL,
    unary: str | None = None,
    host: str = LOOPBACK[0],
    port: int = 7860,
    password: str | None = None,
    open: bool = False,
) -> None:
    """Look at what the network sees in photographs, on a page in the browser.

    A photograph is dropped there, or a photograph and a coarse mask of it. A divider compares the unary network with the head.
    The head's widths, window and strength can be moved, and the pointer tells the probabilities. Mask, overlay and labels can
    be downloaded. Nothing leaves this machine, and no other machine reaches the page unless --host says so, which needs a
    password. Files of up to 32 MB and 50 megapixels are taken, and deleted after an hour.

    examples:
      dpn app --open
      dpn app --model runs/mine --port 8000
      DPN_PASSWORD=secret dpn app --host 0.0.0.0      reached from other machines too, by any name and this password

    Args:
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id
        unary (NETWORK): what makes the network that the model is over, if that is no part of dpn; it is imported and run
        host (ADDRESS): where it listens
        port (NUMBER): at which port
        password (PASSWORD): what a browser is asked for; or the environment variable DPN_PASSWORD, which no list of processes
            shows
        open: open the page in the browser

    Raises:
        InputError: if gradio is not installed, the model cannot be read, the port is taken, or the host is reached from other
            machines and there is no password.
    """
    password = password or os.environ.get("DPN_PASSWORD")
    if host not in LOOPBACK and not password:
        raise InputError(f"--host {host} lets other machines in; give --password, or set DPN_PASSWORD, too")
    try:
        import gradio as gr
        import uvicorn
        from fastapi import FastAPI
    except ImportError as error:
        raise InputError("the page needs gradio: pip install -c constraints.txt -e '.[app]'") from error
    from dpn.app.page import FILES_OF_GRADIO, page
    from dpn.http.connection import Connection

    blocks = page(load_stages(model, unary=unary))
    blocks.state_session_capacity = SESSIONS
    blocks.queue(max_size=WAITING, api_open=False)
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    mounted = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), blocks, "/", server_name=host, server_port=port,
        footer_links=[], run_history=False, show_error=False, max_file_size="32mb", ssr_mode=False, theme=theme,
        css_paths=HOME / "style.css", head=f"<script>{(HOME / 'viewer.js').read_text()}</script>"
    )  # fmt: skip
    blocks.has_launched = True  # gradio checks which files a question names only where it started the server itself
    take_no_others()
    try:
        listens = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"{host}, port {port}: {error.strerror}; choose another with --port") from error
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"{address} (Ctrl-C stops it)", flush=True)
    if open:
        webbrowser.open(address)
    config = uvicorn.Config(
        Gate(mounted, folder=FILES_OF_GRADIO, password=password), log_level="warning", lifespan="on", ws="none",
        server_header=False, http=partial(Connection, most=CONNECTIONS), timeout_graceful_shutdown=3
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listens])
