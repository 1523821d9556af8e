"""Layers that spiking training needs: QCFS and temporal batch norm."""
