"""`dpn app`: starts the page."""

from pathlib import Path

from dpn.errors import InputError
from dpn.model_files import DEFAULT_MODEL
from dpn.storage import load_stages

HOME = Path(__file__).parent


def app(
    *, model: str = DEFAULT_MODEL, unary: str | None = None, host: str = "127.0.0.1", port: int = 7860, open: bool = False
) -> None:
    """Look at what the network sees in photographs, on a page in the browser.

    A photograph is dropped there, or a photograph and a coarse mask of it. A divider compares the unary network with the head.
    The head's widths, window and strength can be moved, and the pointer tells the probabilities. Mask, overlay and labels can
    be downloaded. Nothing leaves this machine, and no other machine reaches the page unless --host says so.

    examples:
      dpn app --open
      dpn app --model runs/mine --port 8000
      dpn app --host 0.0.0.0          reached from other machines too

    Args:
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id
        unary (NETWORK): what makes the network that the model is over, if that is no part of dpn; it is imported and run
        host (ADDRESS): where it listens
        port (NUMBER): at which port
        open: open the page in the browser

    Raises:
        InputError: if gradio is not installed, the model cannot be read, or the port is taken.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError("the page needs gradio: pip install -c constraints.txt -e '.[app]'") from error
    from dpn.app.page import page

    networks = load_stages(model, unary=unary)
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    print(f"http://{host}:{port} (Ctrl-C stops it)", flush=True)
    try:
        page(networks).launch(
            server_name=host, server_port=port, inbrowser=open, quiet=True, share=False, footer_links=[],
            css_paths=HOME / "style.css", head=f"<script>{(HOME / 'viewer.js').read_text()}</script>",
            theme=theme
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"port {port} is taken; choose another with --port") from error
