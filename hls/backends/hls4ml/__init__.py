"""HLS projects through hls4ml (Vitis, Vivado)."""
